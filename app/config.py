"""All settings: names, defaults, parsers and purposes.

No other module reads the environment. `.env` and then `.env.<APP_ENV>`, both optional
and in the project's root, supply variables that are unset or blank. An invalid setting
stops the server at start-up, with a one-line message.

gunicorn reads WEB_CONCURRENCY before this module does. If the value is blank or not a
number, gunicorn stops with a traceback instead.
"""

from __future__ import annotations

import json
import math
import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import psycopg2
from click import ClickException
from dotenv import dotenv_values
from psycopg2.extensions import parse_dsn

ROOT = Path(__file__).resolve().parent.parent


class ConfigError(ClickException):
    """An invalid setting. The message names it, its value and what is accepted.

    Values that may contain a password are left out. The `flask` command prints a
    `ClickException` as one line.
    """


def _database_url(text: str) -> str:
    """Return a PostgreSQL URL, without the quotes or semicolon of a copied shell line."""
    url = text.strip("\"'; \t\r\n")
    if not url:
        return ""
    if not re.match(r"postgres(ql)?://", url):
        raise ValueError("must start with postgres:// or postgresql://")
    try:
        parse_dsn(url)
    except psycopg2.ProgrammingError:
        # libpq's message quotes the URL, and with it the password.
        raise ValueError(
            "must be a URL that PostgreSQL understands: "
            "postgres://USER:PASSWORD@HOST:PORT/DATABASE, with special characters "
            "in the password percent-encoded"
        ) from None
    return url


def _environment(text: str) -> str:
    if text not in {"production", "development", "test"}:
        raise ValueError("must be production, development or test")
    return text


def _integer(lowest: int, highest: int) -> Callable[[str], int]:
    def parse(text: str) -> int:
        if not re.fullmatch(r"[0-9]{1,9}", text) or not lowest <= int(text) <= highest:
            raise ValueError(f"must be an integer from {lowest} to {highest}")
        return int(text)

    return parse


def _seconds(text: str) -> float:
    """Return seconds, at most 25: Heroku's router times out a request after 30."""
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not 0 <= seconds <= 25:
        raise ValueError("must be a number of seconds from 0 to 25")
    return seconds


def _switch(text: str) -> bool:
    word = text.lower()
    if word in {"1", "true", "yes", "on"}:
        return True
    if word in {"0", "false", "no", "off"}:
        return False
    raise ValueError("must be one of true, yes, on, 1, false, no, off, 0")


def _origins(text: str) -> frozenset[str]:
    """Return origins as browsers send them: no default port (RFC 6454, section 6.2)."""
    origins = set()
    for word in text.split(","):
        origin = word.strip().rstrip("/").lower()
        if not origin:
            continue
        if origin != "*" and not re.fullmatch(r"[a-z][a-z0-9+.-]*://[a-z0-9.:\[\]_-]+", origin):
            raise ValueError("must be * or a list of origins: https://a.example,https://b.example")
        origins.add(re.sub(r"^(http://.*):80$|^(https://.*):443$", r"\1\2", origin))
    return frozenset({"*"} if "*" in origins or not origins else origins)


class Setting(NamedTuple):
    """A row of `SETTINGS`.

    `parse` raises `ValueError` with a message that continues the name: "must be …".
    The README lists `purpose`. No message shows the value of a secret.
    """

    name: str
    default: str
    parse: Callable[[str], Any]
    purpose: str
    is_secret: bool = False


SETTINGS = (
    Setting("DATABASE_URL", "", _database_url, "where PostgreSQL is, as a postgres:// URL", True),
    Setting("PGHOST", "", str, "its host, if DATABASE_URL is unset"),
    Setting("PGPORT", "", _integer(1, 65535), "its port"),
    Setting("PGUSER", "", str, "the user to connect as"),
    Setting("PGPASSWORD", "", str, "that user's password", True),
    Setting("PGDATABASE", "", str, "the database's name"),
    Setting("APP_ENV", "production", _environment, "production, development or test"),
    Setting("PORT", "8001", _integer(1, 65535), "the port the server binds"),
    Setting("WEB_CONCURRENCY", "2", _integer(1, 64), "worker processes"),
    Setting("CORS_ORIGINS", "*", _origins, "the origins browsers may call from, comma-separated"),
    Setting("SAVE_DELAY", "0", _seconds, "seconds by which the response to a write is delayed"),
    Setting("TEST_ERROR", "", _switch, "true: every PUT and DELETE gets a 500"),
    Setting("DB_POOL_SIZE", "3", _integer(1, 100), "connections a worker process holds at most"),
)

_LIBPQ_NAMES = {
    "PGHOST": "host",
    "PGPORT": "port",
    "PGUSER": "user",
    "PGPASSWORD": "password",
    "PGDATABASE": "dbname",
}


def read_settings(environ: Mapping[str, str] | None = None, root: Path = ROOT) -> dict[str, Any]:
    """Return the parsed settings by name, None for one without a value or default.

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
    settings["DATABASE"] = _connect_arguments(
        settings, on_heroku=bool(values.get("DYNO", "").strip())
    )
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
    without_password = re.sub(r"//[^/@]*@", "//…@", text)
    shortened = without_password[:60] + ("…" if len(without_password) > 60 else "")
    return json.dumps(shortened, ensure_ascii=False)


def _connect_arguments(settings: Mapping[str, Any], *, on_heroku: bool) -> dict[str, Any]:
    if settings["DATABASE_URL"]:
        arguments = {"dsn": settings["DATABASE_URL"]}
    else:
        arguments = {
            keyword: settings[name] for name, keyword in _LIBPQ_NAMES.items() if settings[name]
        }
    if on_heroku:
        # Heroku Postgres requires TLS. It signs its own certificates.
        arguments["sslmode"] = "require"
    return arguments


def _arguments_for_blanks(arguments: Mapping[str, Any]) -> dict[str, str]:
    """Return empty arguments for blank PG* variables.

    libpq reads these variables itself. With an empty argument it uses its default.
    """
    given = {**parse_dsn(arguments.get("dsn", "")), **arguments}
    return {
        keyword: ""
        for name, keyword in _LIBPQ_NAMES.items()
        if os.environ.get(name, "").isspace() and keyword not in given
    }
