"""The way to PostgreSQL: a small pool, bounded waits, and what happens when it is away.

Promises: a process holds at most `DB_POOL_SIZE` connections here, opened when
first needed; a dead one is thrown away and the work done again on a fresh one;
whatever happens, an answer or an exception comes within five seconds. A change
is made exactly once, even if the connection breaks while it is committed.
"""

from __future__ import annotations

import itertools
import logging
import select
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NamedTuple, TypeVar

import psycopg2
import psycopg2.extensions
from flask import Flask, Response, current_app
from psycopg2.extensions import POLL_OK, POLL_READ, TRANSACTION_STATUS_IDLE
from psycopg2.extras import NamedTupleCursor

from app.errors import Unavailable

log = logging.getLogger(__name__)
Result = TypeVar("Result")

# Seconds. A request first gets a connection, then an answer: together under five.
CONNECTION_WITHIN = 2.0
STATEMENT_TIMEOUT = 2.0
# PostgreSQL ends a slow statement itself; this is for one that has fallen silent.
ANSWER_WITHIN = 2.5
ATTEMPTS = 5


class Connection(psycopg2.extensions.connection):
    """A connection that gives up when PostgreSQL has not answered by its deadline."""

    deadline: float

    def __init__(self, dsn: str, **kwargs: Any) -> None:
        self.deadline = time.monotonic() + CONNECTION_WITHIN
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
    database: Mapping[str, Any], statement_timeout: float = STATEMENT_TIMEOUT
) -> Connection:
    """Open a connection on which each statement is its own transaction.

    Takes the arguments for `psycopg2.connect` and seconds after which PostgreSQL
    ends a statement. Raises `psycopg2.OperationalError`, in bounded time.
    """
    psycopg2.extensions.set_wait_callback(_wait)
    connection: Connection = psycopg2.connect(
        **database,
        connection_factory=Connection,
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
        cursor.execute("SET statement_timeout = %s", [int(statement_timeout * 1000)])
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
            connection = self._live_idle() or connect(self._database)
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
        """An idle connection whose socket is silent; one with something to say has been closed."""
        while self._idle:
            connection = self._idle.pop()
            poller = select.poll()
            poller.register(connection.fileno(), select.POLLIN)
            if not poller.poll(0):
                return connection
            connection.close()
        return None


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
    row: Any = None

    def run(connection: Connection) -> Any:
        nonlocal in_doubt, row
        with connection.cursor() as cursor:
            if in_doubt and _is_committed(cursor, in_doubt):
                return row
            in_doubt = None
            cursor.execute("BEGIN; " + statement, parameters)
            row = cursor.fetchone()
            in_doubt = row.transaction_id
            cursor.execute("COMMIT")
            return row

    return _on_live_connection(run)


def _is_committed(cursor: psycopg2.extensions.cursor, transaction_id: str) -> bool:
    cursor.execute("SELECT pg_xact_status(%s::xid8)", [transaction_id])
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


def is_lost(error: psycopg2.Error) -> bool:
    """Whether the connection broke, rather than the statement.

    libpq gives no SQLSTATE for a broken connection; class 08 is a connection
    exception, 57P01 to 57P03 a backend told to end, crashed, or not yet ready.
    """
    return error.pgcode is None or error.pgcode.startswith(("08", "57P"))


class Address(NamedTuple):
    """Where a database is, without the password: fit for a log."""

    host: str
    database: str


def address(database: Mapping[str, Any]) -> Address:
    """Say where the arguments for `psycopg2.connect` point to."""
    parts = {**psycopg2.extensions.parse_dsn(database.get("dsn", "")), **database}
    host = f"{parts.get('host', 'libpq default')}:{parts.get('port', 5432)}"
    return Address(host, str(parts.get("dbname", parts.get("user", ""))))
