"""Executes the SQL of a view: one query that reads, or one transaction that writes.

`app.database` says what they guarantee.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from flask import Flask, current_app

from app.database.commits import NO_OBSERVER, Commit, CommitObserver
from app.database.connection import DatabaseConnection
from app.database.pool import DatabasePool

# Maximum executions of a statement if rows vanish.
MAX_EXECUTIONS = 10


def init_app(app: Flask, commit_observer: CommitObserver = NO_OBSERVER) -> None:
    """Add a pool to the application. `commit_observer` is notified of every COMMIT."""
    app.extensions["pool"] = DatabasePool(app.config["DATABASE"], app.config["DB_POOL_SIZE"])
    app.extensions["commit_observer"] = commit_observer


def fetch_text(statement: str) -> str:
    """Return the text that a query selects.

    Raises `DatabaseUnavailable` or `psycopg2.Error`.
    """

    def fetch(connection: DatabaseConnection) -> str:
        with connection.cursor() as cursor:
            cursor.execute(statement)
            row: Any = cursor.fetchone()
            return str(row[0])

    pool: DatabasePool = current_app.extensions["pool"]
    # Reads have priority, because many requests wait for the same read.
    return pool.run(fetch, has_priority=True)


def execute_write(statement: str, parameters: Mapping[str, Any]) -> Any:
    """Execute one statement that writes, in a transaction, and commit it at most once.

    The statement returns one row. Its column `transaction_id` is
    `pg_current_xact_id()::text`, or NULL if nothing was written. Its column `has_vanished`
    is true if a row was deleted before the statement could lock it. If nothing was written
    for that reason, the statement is executed again, because only a new statement sees
    the row's replacement.

    Returns the row, a named tuple. Raises `DatabaseUnavailable` or `psycopg2.Error`. The
    write may have been committed nevertheless, if the connection broke during COMMIT.
    """
    pool: DatabasePool = current_app.extensions["pool"]
    row: Any = None

    with Commit() as commit:

        def write(connection: DatabaseConnection) -> Any:
            nonlocal row
            # If the connection broke during COMMIT, the write may be committed already. Repeating
            # it could then fail: the appointment that it booked is no longer free.
            if commit.is_in_flight and commit.ask_for_outcome(connection):
                return row
            row = _execute(connection, statement, parameters)
            if row.transaction_id:
                commit.send(connection, row.transaction_id)
            return row

        return pool.run(write, outcome_is_unknown=lambda: commit.is_in_flight)


def _execute(connection: DatabaseConnection, statement: str, parameters: Mapping[str, Any]) -> Any:
    """Execute the statement in a new transaction. Roll back if nothing was written.

    Otherwise the transaction stays open.
    """
    execute_statement = connection.prepare(statement, parameters)
    with connection.cursor() as cursor:
        cursor.execute(f"BEGIN; {execute_statement}", parameters)
        row: Any = cursor.fetchone()
        executions = 1
        while row.has_vanished and not row.transaction_id and executions < MAX_EXECUTIONS:
            cursor.execute(execute_statement, parameters)
            row = cursor.fetchone()
            executions += 1
        if not row.transaction_id:
            cursor.execute("ROLLBACK")
    return row
