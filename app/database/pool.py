"""A small pool of connections to PostgreSQL, in which every wait has a deadline.

Guarantees: the pool of a worker process has at most `DB_POOL_SIZE` connections, opened
when needed. Dead ones are discarded, and the work is repeated on another one. The work
returns or raises within `TIMEOUT` seconds.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TypeVar

import psycopg2
from psycopg2.extensions import TRANSACTION_STATUS_IDLE

from app.database.connection import CONNECT_TIMEOUT, REPLY_TIMEOUT, DatabaseConnection, connect
from app.database.errors import DatabaseUnavailable, is_login_refused, is_transient
from app.database.fair_semaphore import FairSemaphore

Result = TypeVar("Result")

# Seconds for everything: waiting for a connection, opening it, all attempts, and finding
# out the outcome of a COMMIT without a reply.
TIMEOUT = 4.5
# Seconds to wait for a connection. After that, too little time would remain. Longer than
# `REPLY_TIMEOUT`, so that one slow statement does not make those behind it fail.
WAIT_TIMEOUT = 3.5
MAX_ATTEMPTS = 10


class DatabasePool:
    """At most `size` connections, shared by the threads of a worker process."""

    def __init__(self, database: Mapping[str, Any], size: int) -> None:
        self._database = database
        self._slots = FairSemaphore(size)
        self._idle: list[DatabaseConnection] = []

    def run(
        self,
        work: Callable[[DatabaseConnection], Result],
        *,
        has_priority: bool = False,
        outcome_is_unknown: Callable[[], bool] = lambda: False,
    ) -> Result:
        """Call `work` with a connection, and again with another one after a transient error.

        Work with priority goes first, otherwise the order of arrival decides. The number of
        attempts is limited, except while `outcome_is_unknown()` returns true. Raises
        `DatabaseUnavailable` or `psycopg2.Error`.
        """
        deadline = time.monotonic() + TIMEOUT
        attempt = 1
        with self._admitted(has_priority):
            while True:
                try:
                    with self._connection(deadline) as connection:
                        return work(connection)
                except psycopg2.Error as error:
                    if is_login_refused(error) or not is_transient(error):
                        raise
                    if time.monotonic() > deadline or (
                        attempt >= MAX_ATTEMPTS and not outcome_is_unknown()
                    ):
                        raise
                time.sleep(0.01 * attempt)
                attempt += 1

    @contextmanager
    def _admitted(self, has_priority: bool) -> Iterator[None]:
        try:
            self._slots.acquire(time.monotonic() + WAIT_TIMEOUT, has_priority=has_priority)
        except TimeoutError:
            raise DatabaseUnavailable("all connections of this worker are in use") from None
        try:
            yield
        finally:
            self._slots.release()

    @contextmanager
    def _connection(self, deadline: float) -> Iterator[DatabaseConnection]:
        connection = self._take_idle()
        if connection is None:
            timeout = min(CONNECT_TIMEOUT, deadline - time.monotonic())
            connection = connect(self._database, timeout=timeout)
        connection.deadline = min(deadline, time.monotonic() + REPLY_TIMEOUT)
        try:
            yield connection
        finally:
            self._take_back(connection)

    def _take_idle(self) -> DatabaseConnection | None:
        """Return an idle connection that PostgreSQL has not closed, or None."""
        while self._idle:
            connection = self._idle.pop()
            try:
                # Reads pending input without waiting. If PostgreSQL closed the connection, the
                # first call may read the reason, and the second detects the end of the stream.
                connection.poll()
                connection.poll()
            except psycopg2.Error:
                connection.close()
            else:
                return connection
        return None

    def _take_back(self, connection: DatabaseConnection) -> None:
        """Keep a connection that works and is not in a transaction."""
        if not connection.closed:
            if connection.info.transaction_status == TRANSACTION_STATUS_IDLE:
                self._idle.append(connection)
            else:
                connection.close()
        elif time.monotonic() > connection.deadline:
            # The host is silent. Its idle connections look alive, but each would cost a
            # request its whole timeout.
            while self._idle:
                self._idle.pop().close()
