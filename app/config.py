"""Every setting: its name, its default and what it is for.

The only module that reads the environment. `.env` and then `.env.<APP_ENV>`,
both optional and in the project's root, fill in what the environment leaves
unset; a blank value counts as unset everywhere. What makes no sense is refused
when the server starts, in words, never when a request arrives. One exception:
gunicorn reads WEB_CONCURRENCY before this, and ends in a traceback where it is
blank or no number.
"""

from __future__ import annotations

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
    """A setting makes no sense. The message names it and says what would.

    The `flask` command shows this kind of exception as one line.
    """


def _database_url(text: str) -> str:
    """A `postgres://` or `postgresql://` URL, freed of what copying adds."""
    url = text.strip("\"'; \t\r\n")
    if not url:
        return ""
    if not re.match(r"postgres(ql)?://", url):
        raise ValueError("is no postgres:// or postgresql:// URL")
    try:
        parse_dsn(url)
    except psycopg2.ProgrammingError:
        # libpq's message quotes the URL, and with it the password.
        raise ValueError("is no URL that PostgreSQL understands") from None
    return url


def _environment(text: str) -> str:
    if text not in {"production", "development", "test"}:
        raise ValueError("is none of production, development, test")
    return text


def _whole_number(lowest: int, highest: int) -> Callable[[str], int]:
    def parse(text: str) -> int:
        if not re.fullmatch(r"[0-9]{1,9}", text) or not lowest <= int(text) <= highest:
            raise ValueError(f"is no whole number from {lowest} to {highest}")
        return int(text)

    return parse


def _seconds(text: str) -> float:
    """Seconds up to 25: Heroku's router gives up on a request after 30."""
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not 0 <= seconds <= 25:
        raise ValueError("is no number of seconds from 0 to 25")
    return seconds


def _switch(text: str) -> bool:
    """True in four words; anything else is off."""
    return text.lower() in {"1", "true", "yes", "on"}


def _origins(text: str) -> frozenset[str]:
    """Origins as browsers write them (RFC 6454: scheme, host, port if not the default)."""
    origins = set()
    for word in text.split(","):
        origin = word.strip().rstrip("/").lower()
        if not origin:
            continue
        if origin != "*" and not re.fullmatch(r"[a-z][a-z0-9+.-]*://[a-z0-9.:\[\]_-]+", origin):
            raise ValueError("holds something that is no origin; write https://app.example")
        origins.add(re.sub(r"^(http://.*):80$|^(https://.*):443$", r"\1\2", origin))
    return frozenset({"*"} if "*" in origins or not origins else origins)


class Setting(NamedTuple):
    """One row of the table below; `purpose` is what the documentation says of it."""

    name: str
    default: str
    parse: Callable[[str], Any]
    purpose: str


SETTINGS = (
    Setting("DATABASE_URL", "", _database_url, "where PostgreSQL is, as a postgres:// URL"),
    Setting("PGHOST", "", str, "its host, where DATABASE_URL is unset"),
    Setting("PGPORT", "", _whole_number(1, 65535), "its port"),
    Setting("PGUSER", "", str, "the user to connect as"),
    Setting("PGPASSWORD", "", str, "that user's password"),
    Setting("PGDATABASE", "", str, "the database's name"),
    Setting("APP_ENV", "production", _environment, "production, development or test"),
    Setting("PORT", "8001", _whole_number(1, 65535), "the port the server binds"),
    Setting("WEB_CONCURRENCY", "2", _whole_number(1, 64), "worker processes"),
    Setting("CORS_ORIGINS", "*", _origins, "the origins browsers may call from, comma-separated"),
    Setting("SAVE_DELAY", "0", _seconds, "seconds by which the answer to a write is held back"),
    Setting("TEST_ERROR", "", _switch, "true: every PUT and DELETE answers 500"),
    Setting("DB_POOL_SIZE", "3", _whole_number(1, 100), "connections a worker holds at most"),
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

    Takes the environment (the process's own, completed from the `.env` files in
    `root`, where none is given). Gives a mapping from each setting's name to its
    parsed value, None where it is unset and has no default, plus `DATABASE`: the
    keyword arguments for `psycopg2.connect`. Raises `ConfigError`.
    """
    values = _with_env_files(root) if environ is None else environ
    settings: dict[str, Any] = {}
    for setting in SETTINGS:
        text = values.get(setting.name, "").strip() or setting.default
        try:
            settings[setting.name] = setting.parse(text) if text else None
        except ValueError as error:
            raise ConfigError(f"{setting.name} {error}") from None
    settings["DATABASE"] = _connect_arguments(
        settings, on_heroku=bool(values.get("DYNO", "").strip())
    )
    return settings


def _with_env_files(root: Path) -> dict[str, str]:
    values = {name: value for name, value in os.environ.items() if value.strip()}
    # libpq reads PG* by itself and takes a blank one at its word.
    for name in _LIBPQ_NAMES:
        if name in os.environ and name not in values:
            del os.environ[name]
    for file_name in (".env", ".env.{APP_ENV}"):
        path = root / file_name.format(APP_ENV=values.get("APP_ENV", "production").strip())
        for name, value in dotenv_values(path, interpolate=False).items():
            if value and value.strip():
                values.setdefault(name, value)
    return values


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
