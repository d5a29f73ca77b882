"""Statements: how a view asks PostgreSQL, and what happens when it is away.

Promises: work on a connection that turns out dead is done again on a fresh one;
whatever happens, an answer or an exception comes within five seconds. A change
is made exactly once, even if the connection breaks while it is committed.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import psycopg2
import psycopg2.errors
import psycopg2.extensions
from flask import Flask, Response, current_app, request

from app.database.pool import CONNECTION_WITHIN, Connection, Pool, is_lost
from app.http.errors import Unavailable

Result = TypeVar("Result")

ATTEMPTS = 5


def init_app(app: Flask) -> None:
    """Give the application its pool. Connects to nothing."""
    app.extensions["pool"] = Pool(app.config["DATABASE"], app.config["DB_POOL_SIZE"])


def respond_with_json(statement: str) -> Response:
    """Answer with the JSON text that is a query's one row, as PostgreSQL made it.

    `no-cache`: a copy may be kept, and is asked about before each use.
    """
    text = _on_live_connection(lambda connection: _fetch_text(connection, statement))
    return Response(text, mimetype="application/json", headers={"Cache-Control": "no-cache"})


def _fetch_text(connection: Connection, statement: str) -> str:
    with connection.cursor() as cursor:
        cursor.execute(statement)
        row: Any = cursor.fetchone()
        return str(row[0])


def change(statement: str, parameters: Mapping[str, Any]) -> Any:
    """Run one statement that changes data, in a transaction, exactly once.

    Takes SQL whose one row has the transaction's id, `pg_current_xact_id()::text`,
    as its column `transaction_id`. Gives the row, a named tuple. When the
    connection breaks during the commit, PostgreSQL is asked what became of that
    transaction before the statement is run again: repeated blindly, a conditional
    booking would find its own first try in its way.
    """
    in_doubt: str | None = None
    begun_on = ""
    row: Any = None

    def run(connection: Connection) -> Any:
        nonlocal in_doubt, begun_on, row
        with connection.cursor() as cursor:
            if in_doubt and _is_committed(cursor, in_doubt):
                if connection.server_started != begun_on:
                    # After a crash it may be another's transaction that has this id now.
                    raise Unavailable("PostgreSQL restarted in the middle of a commit")
                return row
            in_doubt = None
            cursor.execute("BEGIN; " + statement, parameters)
            row = cursor.fetchone()
            in_doubt, begun_on = row.transaction_id, connection.server_started
            cursor.execute("COMMIT")
            return row

    row = _on_live_connection(run)
    # For the stored responses: this transaction is what may have made them old.
    request.environ["scheduler.transaction_id"] = int(row.transaction_id)
    return row


def _is_committed(cursor: psycopg2.extensions.cursor, transaction_id: str) -> bool:
    try:
        cursor.execute("SELECT pg_xact_status(%s::xid8)", [transaction_id])
    except psycopg2.errors.InvalidParameterValue:
        # "In the future": PostgreSQL crashed before anything of it had reached the disk.
        return False
    row: Any = cursor.fetchone()
    status = row[0]
    if status == "in progress":
        # Its backend has not noticed yet that we are gone.
        raise psycopg2.OperationalError("a transaction of ours is still being ended")
    return bool(status == "committed")


def _on_live_connection(work: Callable[[Connection], Result]) -> Result:
    """Do work on a connection, again on a fresh one where the connection was lost."""
    pool: Pool = current_app.extensions["pool"]
    deadline = time.monotonic() + CONNECTION_WITHIN
    for attempt in itertools.count(1):
        try:
            with pool.connection(deadline) as connection:
                return work(connection)
        except (psycopg2.OperationalError, psycopg2.InterfaceError) as error:
            if not is_lost(error) or attempt == ATTEMPTS or time.monotonic() > deadline:
                raise
            time.sleep(0.01 * attempt**2)
    raise AssertionError("unreachable")
