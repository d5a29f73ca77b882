"""Connections to PostgreSQL: a small pool in which every wait has a deadline.

Guarantees: a worker process holds at most `DB_POOL_SIZE` connections here, each opened
when it is first needed. A dead one is thrown away. A request has a connection, or an
exception, within two seconds, and PostgreSQL's reply within two and a half more.
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

# Seconds. A request first gets a connection, then a reply: together less than five.
CONNECT_TIMEOUT = 2.0
STATEMENT_TIMEOUT = 2.0
# PostgreSQL cancels a slow statement itself. This is for one that has fallen silent.
REPLY_TIMEOUT = 2.5


def _wait_with_poll(descriptor: int, for_reading: bool, seconds: float) -> bool:
    """Wait until a socket can be read, or written; False if that takes longer than `seconds`."""
    poller = select.poll()
    poller.register(descriptor, select.POLLIN if for_reading else select.POLLOUT)
    return bool(poller.poll(seconds * 1000))


class Connection(psycopg2.extensions.connection):
    """A connection that raises an exception if PostgreSQL has not replied by `deadline`.

    `server_started` is the moment at which the PostgreSQL at the other end started.
    `wait_until_ready` is how all connections wait for their socket: a server that runs
    many requests in one thread may set a cheaper way than `select.poll`.
    """

    server_started: str
    wait_until_ready = staticmethod(_wait_with_poll)

    def __init__(self, dsn: str, *, deadline: float, **kwargs: Any) -> None:
        self.deadline = deadline
        self._prepared: dict[str, str] = {}
        super().__init__(dsn, **kwargs)

    def prepare(self, statement: str, parameters: Iterable[str]) -> str:
        """Have a statement parsed and planned once; return the EXECUTE to use instead of it.

        Takes a statement with named parameters and their names.
        """
        if statement not in self._prepared:
            names = list(parameters)
            numbers = {name: f"${number}" for number, name in enumerate(names, 1)}
            # A name that stands for this very text: behind a pooler, somebody else may have
            # prepared it on the same backend.
            digest = hashlib.blake2b(statement.encode(), digest_size=8).hexdigest()
            with self.cursor() as cursor, suppress(psycopg2.errors.DuplicatePreparedStatement):
                cursor.execute(f"PREPARE statement_{digest} AS {statement % numbers}")
            values = ", ".join(f"%({name})s" for name in names)
            self._prepared[statement] = f"EXECUTE statement_{digest} ({values})"
        return self._prepared[statement]


@cache
def _set_wait_callback() -> None:
    """Let psycopg2 wait with `_wait`, in the whole process."""
    psycopg2.extensions.set_wait_callback(_wait)


def _wait(connection: Connection) -> None:
    """Wait until libpq has what it waits for.

    psycopg2 calls this instead of libpq's blocking functions. So the wait has a
    deadline (libpq's `connect_timeout` applies only to its own blocking call), and
    other requests run meanwhile if `wait_until_ready` lets them.
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
    """Open a connection on which each statement is a transaction of its own.

    Takes the arguments for `psycopg2.connect`, the seconds after which PostgreSQL
    cancels a statement, and the moment (`time.monotonic()`) by which the connection
    must be open. If several hosts are named, each gets an equal share of the time that
    is left: libpq would wait for the first one until the end. Raises
    `psycopg2.OperationalError`.
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
    """The arguments that differ from host to host, for each host that is named.

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
        # As a statement: PgBouncer refuses it as a connection option.
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
        """Lend a connection, in the order of the requests; but first to reads.

        Many requests wait for a read together, and few reads run at once.

        Raises `DatabaseUnavailable` if none is free by `deadline`, and
        `psycopg2.OperationalError` if PostgreSQL cannot be connected to by then.
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
        """Keep a connection for later, if it works and is not in a transaction."""
        if not connection.closed:
            if connection.info.transaction_status == TRANSACTION_STATUS_IDLE:
                self._idle.append(connection)
            else:
                connection.close()
        elif time.monotonic() > connection.deadline:
            # The host has fallen silent. Its idle connections look alive; without this,
            # each would cost a request the whole time for a reply.
            while self._idle:
                self._idle.pop().close()

    def _take_idle(self) -> Connection | None:
        """Take an idle connection that PostgreSQL has not closed."""
        while self._idle:
            connection = self._idle.pop()
            try:
                # Reads what has arrived, without waiting: the first call perhaps why
                # PostgreSQL closed the connection, the second that it is closed.
                connection.poll()
                connection.poll()
            except psycopg2.Error:
                connection.close()
            else:
                return connection
        return None


def is_attached(database: Mapping[str, Any]) -> bool:
    """Whether any setting says where the database is."""
    return any(value for name, value in database.items() if name != "sslmode")


class Address(NamedTuple):
    """Where a database is, without the password: fit for a log."""

    host: str
    database: str


def address(database: Mapping[str, Any]) -> Address:
    """Where the arguments for `psycopg2.connect` point to."""
    parts = {**psycopg2.extensions.parse_dsn(database.get("dsn", "")), **database}
    host = f"{parts.get('host', 'libpq default')}:{parts.get('port', 5432)}"
    return Address(host, str(parts.get("dbname", parts.get("user", ""))))
