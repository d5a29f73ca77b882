"""All settings: names, defaults and purposes.

No other module of `app` reads the environment. `.env` and `.env.<APP_ENV>`, both optional and
in the project's root, supply variables that are unset or blank; `.env` overrides the other
one. An invalid setting stops the server at start-up, with a one-line message.

gunicorn reads WEB_CONCURRENCY before this module does. If the value is blank or not a
number, gunicorn stops with a traceback instead.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from click import ClickException
from dotenv import dotenv_values
from psycopg2.extensions import parse_dsn

from app.setting_parsers import database_url, environment, integer, origins, seconds, switch

ROOT = Path(__file__).resolve().parent.parent


class ConfigError(ClickException):
    """An invalid setting. The message names it, its value and what is accepted.

    Values that may contain a password are left out. The `flask` command prints a
    `ClickException` as one line.
    """


class Setting(NamedTuple):
    """A row of `SETTINGS`.

    The README's description of the setting starts with `purpose`. No message shows the
    value of a secret.
    """

    name: str
    default: str
    parse: Callable[[str], Any]
    purpose: str
    is_secret: bool = False


SETTINGS = (
    Setting("DATABASE_URL", "", database_url, "where PostgreSQL is, as a postgres:// URL", True),
    Setting("PGHOST", "", str, "PostgreSQL's host, if DATABASE_URL is unset"),
    Setting("PGPORT", "", integer(1, 65535), "PostgreSQL's port"),
    Setting("PGUSER", "", str, "the user to connect as"),
    Setting("PGPASSWORD", "", str, "that user's password", True),
    Setting("PGDATABASE", "", str, "the database's name"),
    Setting("APP_ENV", "production", environment, "production, development or test"),
    Setting("PORT", "8001", integer(1, 65535), "the port the server binds"),
    Setting("WEB_CONCURRENCY", "2", integer(1, 64), "worker processes"),
    Setting("CORS_ORIGINS", "*", origins, "origins whose pages may call the API, comma-separated"),
    Setting("SAVE_DELAY", "0", seconds, "seconds to delay the response to each successful write"),
    Setting("TEST_ERROR", "", switch, "true: every PUT and DELETE gets a 500"),
    Setting("DB_POOL_SIZE", "3", integer(1, 100), "maximum connections of a worker's pool"),
)

# The values of libpq's `sslmode` that verify the server's certificate.
VERIFYING_MODES = {"verify-ca", "verify-full"}

_LIBPQ_NAMES = {
    "PGHOST": "host",
    "PGPORT": "port",
    "PGUSER": "user",
    "PGPASSWORD": "password",
    "PGDATABASE": "dbname",
}


def read_settings(environ: Mapping[str, str] | None = None, root: Path = ROOT) -> dict[str, Any]:
    """Return the parsed settings by name: None if unset and without a default.

    `environ` holds the environment variables; the default is the process's environment,
    completed from the `.env` files in `root`. The key `DATABASE` is added: it holds the
    keyword arguments for `psycopg2.connect`. Raises `ConfigError`.
    """
    values = complete_from_files(os.environ, root) if environ is None else environ
    settings: dict[str, Any] = {}
    for setting in SETTINGS:
        text = values.get(setting.name, "").strip() or setting.default
        try:
            settings[setting.name] = setting.parse(text) if text else None
        except ValueError as error:
            shown = "" if setting.is_secret else f", not {_quoted(text)}"
            raise ConfigError(f"{setting.name} {error}{shown}") from None
    settings["DATABASE"] = _connect_arguments(settings, values)
    if environ is None:
        settings["DATABASE"].update(_arguments_for_blanks(settings["DATABASE"]))
    return settings


def complete_from_files(environ: Mapping[str, str], root: Path = ROOT) -> dict[str, str]:
    """Return the variables that are not blank, completed from the `.env` files in `root`."""
    values = {name: value for name, value in environ.items() if value.strip()}
    for file_name in (".env", ".env.{APP_ENV}"):
        path = root / file_name.format(APP_ENV=values.get("APP_ENV", "production").strip())
        for name, value in read_env_file(path).items():
            values.setdefault(name, value)
    return values


def read_env_file(path: Path) -> dict[str, str]:
    """Return the variables of a `.env` file that are not blank, none if it is missing."""
    values = dotenv_values(path, interpolate=False)
    return {name: value for name, value in values.items() if value and value.strip()}


def _quoted(text: str) -> str:
    """Return a value as one short, quoted line without a password."""
    # The password of a URL may contain slashes and @.
    without_password = re.sub(r"//.*@", "//…@", text, flags=re.DOTALL)
    shortened = without_password[:60] + ("…" if len(without_password) > 60 else "")
    return json.dumps(shortened, ensure_ascii=False)


def _connect_arguments(settings: Mapping[str, Any], values: Mapping[str, str]) -> dict[str, Any]:
    if settings["DATABASE_URL"]:
        arguments = {"dsn": settings["DATABASE_URL"]}
    else:
        arguments = {
            keyword: settings[name] for name, keyword in _LIBPQ_NAMES.items() if settings[name]
        }
    ssl_mode = parse_dsn(arguments.get("dsn", "")).get("sslmode") or values.get("PGSSLMODE")
    if values.get("DYNO", "").strip() and ssl_mode not in VERIFYING_MODES:
        # On Heroku. Its PostgreSQL requires TLS. The certificates are self-signed: no CA
        # verifies them.
        arguments["sslmode"] = "require"
    return arguments


def _arguments_for_blanks(arguments: Mapping[str, Any]) -> dict[str, str]:
    """Return an empty argument for each PG* variable that consists of spaces.

    Otherwise libpq would read it from the environment. With an empty argument, it uses its
    default.
    """
    given = {**parse_dsn(arguments.get("dsn", "")), **arguments}
    return {
        keyword: ""
        for name, keyword in _LIBPQ_NAMES.items()
        if os.environ.get(name, "").isspace() and keyword not in given
    }
