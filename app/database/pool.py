"""Connections to PostgreSQL: a small pool in which every wait has an end.

Promises: a process holds at most `DB_POOL_SIZE` connections here, opened when
first needed; a dead one is thrown away; a request has a connection, or an
exception, within two seconds and each answer within two and a half more.
"""

from __future__ import annotations

import select
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any, NamedTuple

import psycopg2
import psycopg2.extensions
from psycopg2.extensions import POLL_OK, POLL_READ, TRANSACTION_STATUS_IDLE
from psycopg2.extras import NamedTupleCursor

from app.http.errors import Unavailable

# Seconds. A request first gets a connection, then an answer: together under five.
CONNECTION_WITHIN = 2.0
STATEMENT_TIMEOUT = 2.0
# PostgreSQL ends a slow statement itself; this is for one that has fallen silent.
ANSWER_WITHIN = 2.5


class Connection(psycopg2.extensions.connection):
    """A connection that gives up when PostgreSQL has not answered by its deadline.

    `server_started` says since when the PostgreSQL at the other end is up.
    """

    server_started: str

    def __init__(self, dsn: str, *, deadline: float, **kwargs: Any) -> None:
        self.deadline = deadline
        super().__init__(dsn, **kwargs)


def _wait(connection: Connection) -> None:
    """Wait for libpq without blocking in C.

    psycopg2 calls this instead of libpq's blocking functions, so that the wait
    has a limit (libpq's `connect_timeout` bounds only its own blocking call) and
    so that other requests run meanwhile where `select` is made cooperative.
    """
    poller = select.poll()
    while (state := connection.poll()) != POLL_OK:
        descriptor = connection.fileno()
        poller.register(descriptor, select.POLLIN if state == POLL_READ else select.POLLOUT)
        seconds = connection.deadline - time.monotonic()
        if not poller.poll(max(0.0, seconds) * 1000):
            raise psycopg2.OperationalError("PostgreSQL does not answer")
        # While it connects, libpq may go on to another address and socket.
        poller.unregister(descriptor)


def connect(
    database: Mapping[str, Any],
    statement_timeout: float = STATEMENT_TIMEOUT,
    deadline: float | None = None,
) -> Connection:
    """Open a connection on which each statement is its own transaction.

    Takes the arguments for `psycopg2.connect`, seconds after which PostgreSQL ends
    a statement, and the moment (`time.monotonic()`) by which the connection has to
    stand. Raises `psycopg2.OperationalError`.
    """
    if deadline is None:
        deadline = time.monotonic() + CONNECTION_WITHIN
    psycopg2.extensions.set_wait_callback(_wait)
    connection: Connection = psycopg2.connect(
        **database,
        connection_factory=partial(Connection, deadline=deadline),
        cursor_factory=NamedTupleCursor,
        application_name="scheduler-api",
        client_encoding="UTF8",
        keepalives_idle=10,
        keepalives_interval=3,
        keepalives_count=3,
    )
    connection.autocommit = True
    with connection.cursor() as cursor:
        # As a statement: PgBouncer refuses it as a connection option.
        cursor.execute(
            "SET statement_timeout = %s; SELECT pg_postmaster_start_time()::text",
            [int(statement_timeout * 1000)],
        )
        row: Any = cursor.fetchone()
        connection.server_started = row[0]
    return connection


class Pool:
    """At most `size` connections, shared by the threads of a process."""

    def __init__(self, database: Mapping[str, Any], size: int) -> None:
        self._database = database
        self._free = threading.Semaphore(size)
        self._idle: list[Connection] = []

    @contextmanager
    def connection(self, deadline: float) -> Iterator[Connection]:
        """Lend a connection; raises `Unavailable` when none is free by `deadline`."""
        if not self._free.acquire(timeout=max(0.0, deadline - time.monotonic())):
            raise Unavailable("all connections of this process are in use")
        try:
            connection = self._live_idle() or connect(self._database, deadline=deadline)
            connection.deadline = time.monotonic() + ANSWER_WITHIN
            try:
                yield connection
            finally:
                if (
                    connection.closed
                    or connection.info.transaction_status != TRANSACTION_STATUS_IDLE
                ):
                    connection.close()
                else:
                    self._idle.append(connection)
        finally:
            self._free.release()

    def _live_idle(self) -> Connection | None:
        """An idle connection that PostgreSQL has not closed."""
        while self._idle:
            connection = self._idle.pop()
            try:
                # Reads what has come without waiting: the first time perhaps why
                # the connection was closed, the second time that it was.
                connection.poll()
                connection.poll()
            except psycopg2.Error:
                connection.close()
            else:
                return connection
        return None


def is_lost(error: psycopg2.Error) -> bool:
    """Whether the connection broke, rather than the statement.

    libpq gives no SQLSTATE for a broken connection; class 08 is a connection
    exception, 57P01 to 57P03 a backend told to end, crashed, or not yet ready.
    """
    return error.pgcode is None or error.pgcode.startswith(("08", "57P"))


def is_attached(database: Mapping[str, Any]) -> bool:
    """Whether any setting says where the database is."""
    return bool(database.keys() - {"sslmode"})


class Address(NamedTuple):
    """Where a database is, without the password: fit for a log."""

    host: str
    database: str


def address(database: Mapping[str, Any]) -> Address:
    """Say where the arguments for `psycopg2.connect` point to."""
    parts = {**psycopg2.extensions.parse_dsn(database.get("dsn", "")), **database}
    host = f"{parts.get('host', 'libpq default')}:{parts.get('port', 5432)}"
    return Address(host, str(parts.get("dbname", parts.get("user", ""))))
