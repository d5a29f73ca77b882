"""Executing statements: one query for a view that reads, one transaction for a view that writes.

Guarantees: work on a connection that turns out to be dead is repeated on a new one. A
result or an exception comes within five seconds, whatever happens. A write is made
exactly once, even if the connection breaks during its COMMIT.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NamedTuple, Protocol, TypeVar

import psycopg2
import psycopg2.errors
import psycopg2.extensions
from flask import Flask, current_app

from app.database.errors import DatabaseUnavailable, is_lost
from app.database.pool import CONNECT_TIMEOUT, Connection, Pool

Result = TypeVar("Result")

# How often work is tried on connections that break, and a statement whose row has vanished.
ATTEMPTS = 10


class CommitObserver(Protocol):
    """Learns when a commit may become visible to readers; called around each COMMIT."""

    def commit_begun(self, transaction_id: int) -> None:
        """Called immediately before COMMIT is sent."""

    def commit_finished(self) -> None:
        """Called once the outcome is known."""

    def commit_abandoned(self, transaction_id: int) -> None:
        """Called instead if the outcome stays unknown: the write is given up."""


def init_app(app: Flask, commits: CommitObserver | None = None) -> None:
    """Give the application its pool. Connects to nothing."""
    app.extensions["pool"] = Pool(app.config["DATABASE"], app.config["DB_POOL_SIZE"])
    app.extensions["commits"] = commits


def fetch_text(statement: str) -> str:
    """Execute a query whose result is one row with one text; return the text.

    Raises `DatabaseUnavailable` or `psycopg2.Error`.
    """

    def fetch(connection: Connection) -> str:
        with connection.cursor() as cursor:
            cursor.execute(statement)
            row: Any = cursor.fetchone()
            return str(row[0])

    return _on_live_connection(fetch, for_read=True)


def execute_write(statement: str, parameters: Mapping[str, Any]) -> Any:
    """Execute one statement that writes, in a transaction, exactly once.

    The statement returns one row. Its column `transaction_id` is the transaction's id,
    `pg_current_xact_id()::text`, or NULL if nothing was written: then there is nothing
    to commit. If nothing was written and its column `has_vanished` is true, because a row
    was deleted before the statement could lock it, then it is executed again: only a new
    statement sees what is there instead.

    Returns the row, a named tuple. Raises `DatabaseUnavailable` or `psycopg2.Error`; then
    the write may have been made, if its COMMIT was sent.
    """
    write = _Write(statement, parameters, current_app.extensions["commits"])
    try:
        return _on_live_connection(write.execute, for_read=False)
    finally:
        write.abandon_commit()


@contextmanager
def committing(transaction_id: int) -> Iterator[None]:
    """Report a COMMIT to the observer, for a transaction that is not executed again."""
    commits: CommitObserver | None = current_app.extensions["commits"]
    if commits is None:
        yield
        return
    commits.commit_begun(transaction_id)
    try:
        yield
    except BaseException:
        commits.commit_abandoned(transaction_id)
        raise
    commits.commit_finished()


class _Commit(NamedTuple):
    """A COMMIT that was sent: what its transaction returned, and when its server started."""

    row: Any
    server_started: str


class _Write:
    """A write and its COMMIT in flight, which outlives the connection.

    If the connection breaks during the COMMIT, the write asks PostgreSQL on the next
    connection whether the transaction was committed. Simply repeated, a booking for a
    free appointment would be refused because of its own first attempt.
    """

    def __init__(
        self, statement: str, parameters: Mapping[str, Any], commits: CommitObserver | None
    ) -> None:
        self._statement = statement
        self._parameters = parameters
        self._commits = commits
        self._in_flight: _Commit | None = None

    def execute(self, connection: Connection) -> Any:
        """Write and commit, unless an earlier attempt was committed."""
        with connection.cursor() as cursor:
            if commit := self._in_flight:
                is_committed = _is_committed(cursor, commit.row.transaction_id)
                if is_committed and connection.server_started != commit.server_started:
                    # After a crash this id may belong to another transaction.
                    raise DatabaseUnavailable("PostgreSQL restarted during a commit")
                self._finish_commit()
                if is_committed:
                    return commit.row
            row = self._execute_statement(connection, cursor)
            if row.transaction_id is None:
                cursor.execute("ROLLBACK")
                return row
            self._begin_commit(_Commit(row, connection.server_started))
            cursor.execute("COMMIT")
            self._finish_commit()
            return row

    def _execute_statement(self, connection: Connection, cursor: psycopg2.extensions.cursor) -> Any:
        statement = connection.prepare(self._statement, self._parameters)
        begin = "BEGIN; "
        for _ in range(ATTEMPTS):
            cursor.execute(begin + statement, self._parameters)
            begin = ""
            row: Any = cursor.fetchone()
            if row.transaction_id or not row.has_vanished:
                break
        return row

    def _begin_commit(self, commit: _Commit) -> None:
        if self._commits:
            self._commits.commit_begun(int(commit.row.transaction_id))
        self._in_flight = commit

    def _finish_commit(self) -> None:
        self._in_flight = None
        if self._commits:
            self._commits.commit_finished()

    def abandon_commit(self) -> None:
        """Give up a commit whose outcome is unknown, if there is one."""
        if self._in_flight and self._commits:
            self._commits.commit_abandoned(int(self._in_flight.row.transaction_id))


def _is_committed(cursor: psycopg2.extensions.cursor, transaction_id: str) -> bool:
    try:
        cursor.execute("SELECT pg_xact_status(%s::xid8)", [transaction_id])
    except psycopg2.errors.InvalidParameterValue:
        # "In the future": PostgreSQL crashed before any of it had reached the disk.
        return False
    row: Any = cursor.fetchone()
    status = row[0]
    if status == "in progress":
        # Its backend has not noticed yet that the connection is gone.
        raise psycopg2.OperationalError("PostgreSQL has not ended the last transaction yet")
    return bool(status == "committed")


def _on_live_connection(work: Callable[[Connection], Result], *, for_read: bool) -> Result:
    """Do the work on a connection; repeat it on another one if the connection is lost."""
    pool: Pool = current_app.extensions["pool"]
    deadline = time.monotonic() + CONNECT_TIMEOUT
    attempt = 1
    while True:
        try:
            with pool.connection(deadline, for_read=for_read) as connection:
                return work(connection)
        except psycopg2.Error as error:
            if not is_lost(error) or attempt == ATTEMPTS or time.monotonic() > deadline:
                raise
        time.sleep(0.01 * attempt)
        attempt += 1
