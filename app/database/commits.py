"""Sends COMMIT, notifies the observer, and finds out the outcome if the connection breaks."""

from __future__ import annotations

import time
from typing import Any, Protocol

import psycopg2
import psycopg2.errors
from flask import current_app

from app.database.connection import DatabaseConnection
from app.database.errors import DatabaseUnavailable

# Seconds between checks of a transaction that has not ended.
ASK_INTERVAL = 0.05

# If a backend is terminated while it waits for a synchronous standby, its transaction is
# committed, but the standby may lack it. This statement writes to the WAL after that
# transaction. So when its own COMMIT returns, the standby has both.
WAIT_FOR_STANDBY = """
    SELECT pg_logical_emit_message(true, 'scheduler-api', '')
    WHERE current_setting('synchronous_standby_names') <> ''
"""


class CommitObserver(Protocol):
    """Is notified before and after each COMMIT."""

    def commit_begun(self, transaction_id: int) -> None:
        """Called immediately before COMMIT is sent."""

    def commit_finished(self) -> None:
        """Called when the outcome is known."""

    def commit_abandoned(self, transaction_id: int) -> None:
        """Called instead of `commit_finished` if the outcome stays unknown."""


class _NoObserver(CommitObserver):
    """Does nothing: for an application without a cache."""


# mypy treats a protocol's methods without statements as abstract.
NO_OBSERVER = _NoObserver()  # type: ignore[abstract]


class Commit:
    """The COMMIT of one write, as a context manager.

    It is in flight from the moment before COMMIT is sent until its outcome is known. If the
    outcome is still unknown at the end of the block, the commit is abandoned.
    """

    def __init__(self) -> None:
        self._observer: CommitObserver = current_app.extensions["commit_observer"]
        self.is_in_flight = False
        self._transaction_id = ""
        self._instance = ""

    def __enter__(self) -> Commit:
        return self

    def __exit__(self, *error: object) -> None:
        if self.is_in_flight:
            self._observer.commit_abandoned(int(self._transaction_id))

    def send(self, connection: DatabaseConnection, transaction_id: str) -> None:
        """Send COMMIT. After a `psycopg2.Error`, only `ask_for_outcome` knows the outcome."""
        self._transaction_id = transaction_id
        self._instance = connection.instance
        self._observer.commit_begun(int(transaction_id))
        self.is_in_flight = True
        with connection.cursor() as cursor:
            cursor.execute("COMMIT")
        self._finish()

    def ask_for_outcome(self, connection: DatabaseConnection) -> bool:
        """Return whether the transaction was committed.

        Raises `psycopg2.OperationalError` if it has not ended by the connection's deadline,
        and `DatabaseUnavailable` if the outcome cannot be known any more.
        """
        with connection.cursor() as cursor:
            while (status := self._status(cursor)) == "in progress":
                # The old backend has not noticed yet that its connection is lost.
                if time.monotonic() + ASK_INTERVAL > connection.deadline:
                    raise psycopg2.OperationalError("PostgreSQL has not ended the transaction yet")
                time.sleep(ASK_INTERVAL)
            is_committed = status == "committed"
            if is_committed:
                if connection.instance != self._instance:
                    # PostgreSQL may have lost the transaction and used its id for another one.
                    raise DatabaseUnavailable("PostgreSQL restarted during a commit")
                cursor.execute(WAIT_FOR_STANDBY)
        self._finish()
        return is_committed

    def _status(self, cursor: Any) -> str | None:
        try:
            cursor.execute("SELECT pg_xact_status(%s::xid8)", [self._transaction_id])
        except psycopg2.errors.InvalidParameterValue:
            # The id is "in the future": PostgreSQL crashed before it wrote the transaction to
            # disk.
            return None
        status: str | None = cursor.fetchone()[0]
        return status

    def _finish(self) -> None:
        self.is_in_flight = False
        self._observer.commit_finished()
