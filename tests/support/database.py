"""The test database: its URL, statements of another client, and a fresh seed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from typing import Any
from urllib.parse import quote, urlencode

from flask import Flask

from app.cache import data_version
from app.database import schema
from app.database.connection import DatabaseConnection, connect

Sql = Callable[..., list[tuple[Any, ...]]]
Tables = Callable[[], dict[str, list[tuple[Any, ...]]]]

# The backends of the application's change listeners.
LISTENERS = """
    (
      SELECT pid
      FROM pg_stat_activity
      WHERE datname = current_database() AND pid <> pg_backend_pid()
        AND application_name = 'scheduler-api listener'
    ) AS listeners
"""

# Terminate every other connection to the database, or about half of them.
KILL = """
    SELECT pg_terminate_backend(pid)
    FROM pg_stat_activity
    WHERE datname = current_database() AND pid <> pg_backend_pid()
"""
KILL_HALF = f"{KILL} AND random() < 0.5"


def as_url(parts: Mapping[str, Any]) -> str:
    """Return a connection URL made from libpq's keywords."""
    options = {name: value for name, value in parts.items() if name != "dbname"}
    return f"postgresql:///{quote(parts['dbname'])}?{urlencode(options, quote_via=quote)}"


@contextmanager
def patient_connection(url: str, **options: str) -> Iterator[DatabaseConnection]:
    """Open a connection without a short deadline."""
    with closing(connect({"dsn": url, **options}, statement_timeout=30)) as connection:
        connection.deadline += 3600
        yield connection


@contextmanager
def connected(url: str, **options: str) -> Iterator[Sql]:
    """Run statements like a user of `psql`. Yields a function that returns the rows."""
    with patient_connection(url, **options) as connection:

        def run(statement: str, parameters: Any = None) -> list[tuple[Any, ...]]:
            with connection.cursor() as cursor:
                cursor.execute(statement, parameters)
                return cursor.fetchall() if cursor.description is not None else []

        yield run


# Every change of a table, a trigger or a function of the project writes one of these rows, which
# changes its xmin.
SCHEMA_FINGERPRINT = """
    SELECT count(*), sum(xmin::text::bigint)
    FROM (
      SELECT xmin FROM pg_proc WHERE pronamespace = 'public'::regnamespace
      UNION ALL SELECT xmin FROM pg_constraint WHERE connamespace = 'public'::regnamespace
      UNION ALL SELECT pg_class.xmin FROM pg_class WHERE relnamespace = 'public'::regnamespace
      UNION ALL SELECT pg_attribute.xmin FROM pg_attribute JOIN pg_class ON pg_class.oid = attrelid
      WHERE relnamespace = 'public'::regnamespace
      UNION ALL SELECT pg_attrdef.xmin FROM pg_attrdef JOIN pg_class ON pg_class.oid = adrelid
      WHERE relnamespace = 'public'::regnamespace
      UNION ALL SELECT pg_trigger.xmin FROM pg_trigger JOIN pg_class ON pg_class.oid = tgrelid
      WHERE relnamespace = 'public'::regnamespace
    ) AS objects
"""
# By database: its fingerprint after the last reset.
_fingerprints: dict[str, object] = {}


def reseed(app: Flask) -> None:
    """Seed the database again, and invalidate the cache.

    This drops and creates the tables only if their definition has changed: that takes long.
    """
    database = app.config["DATABASE"]
    with connected("", **database) as sql:
        if sql(SCHEMA_FINGERPRINT) == _fingerprints.get(str(database)):
            refill(sql, app.config["APP_ENV"])
            return
        with app.app_context():
            schema.reset()
        _fingerprints[str(database)] = sql(SCHEMA_FINGERPRINT)
    data_version.record_change()


DELETE_ALL_ROWS = """
    DELETE FROM interviews;
    DELETE FROM available_interviewers;
    DELETE FROM appointments;
    DELETE FROM days;
    DELETE FROM interviewers;
    SELECT setval(oid::regclass, 1, false)
    FROM pg_class
    WHERE relnamespace = 'public'::regnamespace AND relkind = 'S'
"""


def refill(sql: Sql, seed: str = "test") -> None:
    """Restore a seed, if only rows have changed, and invalidate the cache."""
    sql(f"{DELETE_ALL_ROWS}; {(schema.SCHEMA / f'{seed}.sql').read_text(encoding='utf-8')}")
    data_version.record_change()
