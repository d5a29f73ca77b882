"""Creates, seeds and drops the tables, with the files in db/schema.

Several files run in one transaction, so a failure changes nothing.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import closing
from typing import Any

from flask import current_app

from app import config
from app.database import hosts
from app.database.commits import Commit
from app.database.connection import DatabaseConnection, connect

SCHEMA = config.ROOT / "db" / "schema"
# Seconds. Creating an index on a large table takes a while.
TIMEOUT = 60.0


class RemoteDatabase(Exception):
    """The database is neither on this machine nor on a private network."""


def prepare() -> None:
    """Create what is missing. Seed the tables if all are empty. Raises `psycopg2.Error`.

    Safe to run at every deploy, on a database in use, and by several processes simultaneously.
    """
    with closing(_connect(TIMEOUT)) as connection:
        _run(connection, "create", current_app.config["APP_ENV"])


def reset(timeout: float = TIMEOUT, *, even_if_remote: bool = False) -> None:
    """Drop, create and seed all tables. Raises `RemoteDatabase` or `psycopg2.Error`.

    `timeout` is in seconds. A remote database is probably a production database that a
    `.env` file names.
    """
    if not even_if_remote:
        _refuse_remote(current_app.config["DATABASE"])
    with closing(_connect(timeout)) as connection:
        if not even_if_remote:
            # libpq also reads PGHOSTADDR and service files. This is the host that it used.
            _refuse_remote(connection.info.dsn_parameters)
        _run(connection, "drop", "create", current_app.config["APP_ENV"])


def _refuse_remote(database: Mapping[str, Any]) -> None:
    if hosts.is_remote(database):
        raise RemoteDatabase(
            f"The database on {hosts.location(database).server} is neither on this machine nor "
            "on a private network."
        )


def _connect(timeout: float) -> DatabaseConnection:
    connection = connect(current_app.config["DATABASE"], statement_timeout=timeout)
    connection.deadline = time.monotonic() + timeout
    return connection


def _run(connection: DatabaseConnection, *names: str) -> None:
    """Run files in one transaction."""
    script = "".join(map(_statements, names))
    with connection.cursor() as cursor:
        cursor.execute(f"BEGIN; {script} SELECT pg_current_xact_id()::text")
        row: Any = cursor.fetchone()
    with Commit() as commit:
        commit.send(connection, row[0])


def _statements(name: str) -> str:
    """Return the statements of a file without its `BEGIN` and `COMMIT`."""
    text = (SCHEMA / f"{name}.sql").read_text(encoding="utf-8")
    _, _, rest = text.partition("\nBEGIN;\n")
    statements, _, _ = rest.rpartition("\nCOMMIT;\n")
    return statements
