"""Every setting: its name, its default and what it is for.

The only module that reads the environment. `.env` and then `.env.<APP_ENV>`,
both optional and in the project's root, fill in what the environment leaves
unset; a blank value counts as unset everywhere. An invalid setting stops the
server at start-up, with one line that says what is accepted. One exception:
gunicorn reads WEB_CONCURRENCY before this module, and ends with a traceback if it
is blank or not a number.
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
    """A setting is invalid. The message names it, its value and what is accepted.

    A value that may contain a password is not shown. The `flask` command shows
    this kind of exception as one line.
    """


def _database_url(text: str) -> str:
    """A `postgres://` or `postgresql://` URL, without what copying adds."""
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
    """Seconds up to 25: Heroku's router gives up on a request after 30."""
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
    """Origins as browsers write them (RFC 6454: scheme, host, port if not the default)."""
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
    """One row of the table below.

    `parse` raises `ValueError` with words that follow the name. `purpose` is what
    the documentation says. The value of a secret is never shown.
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
    """Read and check every setting.

    Takes the environment; without one, the process's own, completed from the `.env`
    files in `root`. Returns a mapping from each setting's name to its parsed value,
    None if it is unset and has no default, and `DATABASE`: the keyword arguments
    for `psycopg2.connect`. Raises `ConfigError`.
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
        settings["DATABASE"].update(_overrides_of_blanks(settings["DATABASE"]))
    return settings


def complete_from_files(environ: Mapping[str, str], root: Path = ROOT) -> dict[str, str]:
    """The environment, and from the `.env` files in `root` what it leaves unset or blank."""
    values = {name: value for name, value in environ.items() if value.strip()}
    for file_name in (".env", ".env.{APP_ENV}"):
        path = root / file_name.format(APP_ENV=values.get("APP_ENV", "production").strip())
        for name, value in read_env_file(path).items():
            values.setdefault(name, value)
    return values


def read_env_file(path: Path) -> dict[str, str]:
    """What a `.env` file sets to more than blanks; nothing if there is no such file."""
    values = dotenv_values(path, interpolate=False)
    return {name: value for name, value in values.items() if value and value.strip()}


def _quoted(text: str) -> str:
    """A value as one short line, whatever it contains."""
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
        # Heroku Postgres demands TLS and signs its own certificate.
        arguments["sslmode"] = "require"
    return arguments


def _overrides_of_blanks(arguments: Mapping[str, Any]) -> dict[str, str]:
    """What keeps libpq, which reads PG* itself, from using a blank one.

    An empty argument stands for libpq's default.
    """
    given = {**parse_dsn(arguments.get("dsn", "")), **arguments}
    return {
        keyword: ""
        for name, keyword in _LIBPQ_NAMES.items()
        if os.environ.get(name, "").isspace() and keyword not in given
    }
