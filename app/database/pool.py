"""Connections to PostgreSQL: a small pool in which every wait has a deadline.

Guarantees: the pool of a worker process has at most `DB_POOL_SIZE` connections, opened
when needed. Dead ones are discarded. A request gets a connection or an exception within
two seconds, and a reply or an exception within another 2.5.
"""

from __future__ import annotations

import hashlib
import select
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import cache, partial
from typing import Any, NamedTuple

import psycopg2
import psycopg2.errors
import psycopg2.extensions
from psycopg2.extensions import POLL_OK, POLL_READ, TRANSACTION_STATUS_IDLE
from psycopg2.extras import NamedTupleCursor

from app.database.errors import DatabaseUnavailable
from app.database.fair_semaphore import FairSemaphore

# Seconds. A request waits for a connection and then for a reply, together less than five.
CONNECT_TIMEOUT = 2.0
STATEMENT_TIMEOUT = 2.0
# PostgreSQL itself cancels a slow statement. This timeout is for a server that is silent.
REPLY_TIMEOUT = 2.5


def _wait_with_poll(descriptor: int, for_reading: bool, seconds: float) -> bool:
    """Wait until a socket is readable or writable. Returns False after `seconds`."""
    poller = select.poll()
    poller.register(descriptor, select.POLLIN if for_reading else select.POLLOUT)
    return bool(poller.poll(seconds * 1000))


class Connection(psycopg2.extensions.connection):
    """A connection that raises an exception if PostgreSQL has not replied by `deadline`.

    `deadline` is a `time.monotonic()`, `server_started` is PostgreSQL's start time.
    All connections wait with `wait_until_ready`, which gunicorn.conf.py replaces.
    """

    server_started: str
    wait_until_ready = staticmethod(_wait_with_poll)

    def __init__(self, dsn: str, *, deadline: float, **kwargs: Any) -> None:
        self.deadline = deadline
        self._prepared: dict[str, str] = {}
        super().__init__(dsn, **kwargs)

    def prepare(self, statement: str, parameters: Iterable[str]) -> str:
        """Prepare a statement, once for each connection. Returns the EXECUTE to use instead.

        `parameters` are the names of the statement's parameters.
        """
        if statement not in self._prepared:
            names = list(parameters)
            numbers = {name: f"${number}" for number, name in enumerate(names, 1)}
            # The name identifies the text. Behind a pooler, another client may have prepared
            # the statement on the same backend.
            digest = hashlib.blake2b(statement.encode(), digest_size=8).hexdigest()
            with self.cursor() as cursor, suppress(psycopg2.errors.DuplicatePreparedStatement):
                cursor.execute(f"PREPARE statement_{digest} AS {statement % numbers}")
            values = ", ".join(f"%({name})s" for name in names)
            self._prepared[statement] = f"EXECUTE statement_{digest} ({values})"
        return self._prepared[statement]


@cache
def _set_wait_callback() -> None:
    """Make psycopg2 wait with `_wait`, in the whole process."""
    psycopg2.extensions.set_wait_callback(_wait)


def _wait(connection: Connection) -> None:
    """Wait until libpq has completed its operation.

    psycopg2 calls this instead of libpq's blocking functions, so libpq's `connect_timeout`
    has no effect. `wait_until_ready` may run other requests meanwhile.
    """
    while (state := connection.poll()) != POLL_OK:
        seconds = max(0.0, connection.deadline - time.monotonic())
        if not Connection.wait_until_ready(connection.fileno(), state == POLL_READ, seconds):
            raise psycopg2.OperationalError("PostgreSQL does not reply")


def connect(
    database: Mapping[str, Any],
    statement_timeout: float = STATEMENT_TIMEOUT,
    deadline: float | None = None,
) -> Connection:
    """Open a connection in autocommit mode.

    `database` holds the arguments for `psycopg2.connect`. PostgreSQL cancels a statement
    after `statement_timeout` seconds. The connection is open by `deadline`
    (`time.monotonic()`), or `psycopg2.OperationalError` is raised. If there are several
    hosts, each gets an equal share of the time; libpq would wait for the first host only.
    """
    if deadline is None:
        deadline = time.monotonic() + CONNECT_TIMEOUT
    _set_wait_callback()
    hosts = _hosts(database)
    errors = []
    for number, host in enumerate(hosts):
        now = time.monotonic()
        share = (deadline - now) / (len(hosts) - number)
        try:
            return _connect({**database, **host}, statement_timeout, now + share)
        except psycopg2.OperationalError as error:
            errors.append(str(error).strip())
    raise psycopg2.OperationalError("\n".join(errors))


def _hosts(database: Mapping[str, Any]) -> list[dict[str, str]]:
    """Return the connection arguments of each host in a list of hosts.

    https://www.postgresql.org/docs/current/libpq-connect.html#LIBPQ-MULTIPLE-HOSTS
    """
    parts = {**psycopg2.extensions.parse_dsn(database.get("dsn", "")), **database}
    lists = {
        name: str(parts[name]).split(",") for name in ("host", "hostaddr", "port") if name in parts
    }
    count = max(map(len, lists.values()), default=1)
    # A single port is the port of all hosts.
    return [
        {name: values[number if len(values) == count else 0] for name, values in lists.items()}
        for number in range(count)
    ]


def _connect(database: Mapping[str, Any], statement_timeout: float, deadline: float) -> Connection:
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
        # PgBouncer refuses this setting as a connection option.
        cursor.execute(
            "SET statement_timeout = %s; SELECT pg_postmaster_start_time()::text",
            [int(statement_timeout * 1000)],
        )
        row: Any = cursor.fetchone()
        connection.server_started = row[0]
    return connection


class Pool:
    """At most `size` connections, shared by the threads of a worker process."""

    def __init__(self, database: Mapping[str, Any], size: int) -> None:
        self._database = database
        self._free = FairSemaphore(size)
        self._idle: list[Connection] = []

    @contextmanager
    def connection(self, deadline: float, *, for_read: bool) -> Iterator[Connection]:
        """Lend a connection: first to reads, then in order of arrival.

        Reads have priority, because many requests wait for the same read. Raises
        `DatabaseUnavailable` if no connection is free by `deadline`, and
        `psycopg2.OperationalError` if a new one cannot be opened by then.
        """
        try:
            self._free.acquire(deadline, has_priority=for_read)
        except TimeoutError:
            raise DatabaseUnavailable("all connections of this worker are in use") from None
        try:
            connection = self._take_idle() or connect(self._database, deadline=deadline)
            connection.deadline = time.monotonic() + REPLY_TIMEOUT
            try:
                yield connection
            finally:
                self._take_back(connection)
        finally:
            self._free.release()

    def _take_back(self, connection: Connection) -> None:
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

    def _take_idle(self) -> Connection | None:
        """Return an idle connection that PostgreSQL has not closed, or None."""
        while self._idle:
            connection = self._idle.pop()
            try:
                # Reads pending input without waiting. If PostgreSQL closed the connection,
                # the first call may read the reason, and the second reads the end.
                connection.poll()
                connection.poll()
            except psycopg2.Error:
                connection.close()
            else:
                return connection
        return None


def is_attached(database: Mapping[str, Any]) -> bool:
    """Return whether any setting specifies a database."""
    return any(value for name, value in database.items() if name != "sslmode")


class Address(NamedTuple):
    """The host and name of a database, for log lines and messages."""

    host: str
    database: str


def address(database: Mapping[str, Any]) -> Address:
    """Return the address in the arguments for `psycopg2.connect`."""
    parts = {**psycopg2.extensions.parse_dsn(database.get("dsn", "")), **database}
    host = f"{parts.get('host', 'libpq default')}:{parts.get('port', 5432)}"
    return Address(host, str(parts.get("dbname", parts.get("user", ""))))
