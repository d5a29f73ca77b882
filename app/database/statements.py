"""Executes the SQL of a view: one query that reads, or one transaction that writes.

Guarantees: if a connection is dead, the work is repeated on a new one. The result or an
exception arrives within five seconds. A write is executed exactly once, even if the
connection breaks during its COMMIT.
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

from app.database.errors import DatabaseUnavailable, is_login_refused, is_lost
from app.database.pool import CONNECT_TIMEOUT, Connection, Pool

Result = TypeVar("Result")

# Maximum attempts, if connections break or if rows vanish.
ATTEMPTS = 10


class CommitObserver(Protocol):
    """Is notified before and after each COMMIT."""

    def commit_begun(self, transaction_id: int) -> None:
        """Called immediately before COMMIT is sent."""

    def commit_finished(self) -> None:
        """Called when the outcome is known."""

    def commit_abandoned(self, transaction_id: int) -> None:
        """Called instead of `commit_finished` if the outcome stays unknown."""


def init_app(app: Flask, commits: CommitObserver | None = None) -> None:
    """Add a pool to the application. `commits` observes every COMMIT."""
    app.extensions["pool"] = Pool(app.config["DATABASE"], app.config["DB_POOL_SIZE"])
    app.extensions["commits"] = commits


def fetch_text(statement: str) -> str:
    """Return the text that a query selects.

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

    The statement returns one row. Its column `transaction_id` is
    `pg_current_xact_id()::text`, or NULL if nothing was written. Its column `has_vanished`
    is true if a row was deleted before the statement could lock it. If nothing was written
    for that reason, the statement is executed again, because only a new statement sees
    the row's replacement.

    Returns the row, a named tuple. Raises `DatabaseUnavailable` or `psycopg2.Error`. The
    write may have been committed nevertheless, if the connection broke during COMMIT.
    """
    write = _Write(statement, parameters, current_app.extensions["commits"])
    try:
        return _on_live_connection(write.execute, for_read=False)
    finally:
        write.abandon_commit()


@contextmanager
def committing(transaction_id: int) -> Iterator[None]:
    """Report the COMMIT of a transaction that is never retried, which the block sends."""
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
    """A COMMIT that was sent: the row of its statement, and PostgreSQL's start time."""

    row: Any
    server_started: str


class _Write:
    """A write that survives the loss of its connection.

    If the connection breaks during the COMMIT, `execute` asks PostgreSQL on the next
    connection whether the transaction was committed. Otherwise, the second attempt to
    book a free appointment would fail because of the first.
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
                    # After a crash, PostgreSQL may use this id for another transaction.
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
        """Report a commit whose outcome is unknown, if there is one."""
        if self._in_flight and self._commits:
            self._commits.commit_abandoned(int(self._in_flight.row.transaction_id))


def _is_committed(cursor: psycopg2.extensions.cursor, transaction_id: str) -> bool:
    try:
        cursor.execute("SELECT pg_xact_status(%s::xid8)", [transaction_id])
    except psycopg2.errors.InvalidParameterValue:
        # The id is "in the future": PostgreSQL crashed before it wrote the transaction to disk.
        return False
    row: Any = cursor.fetchone()
    status = row[0]
    if status == "in progress":
        # The old backend has not noticed yet that its connection is lost.
        raise psycopg2.OperationalError("PostgreSQL has not ended the last transaction yet")
    return bool(status == "committed")


def _on_live_connection(work: Callable[[Connection], Result], *, for_read: bool) -> Result:
    """Call `work` with a connection, and again with a new one if the connection is lost."""
    pool: Pool = current_app.extensions["pool"]
    deadline = time.monotonic() + CONNECT_TIMEOUT
    attempt = 1
    while True:
        try:
            with pool.connection(deadline, for_read=for_read) as connection:
                return work(connection)
        except psycopg2.Error as error:
            is_final = attempt == ATTEMPTS or time.monotonic() > deadline
            if is_final or is_login_refused(error) or not is_lost(error):
                raise
        time.sleep(0.01 * attempt)
        attempt += 1
