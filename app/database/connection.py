"""A connection to PostgreSQL on which every wait has a deadline."""

from __future__ import annotations

import hashlib
import select
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import cache, partial
from typing import Any, TypeVar

import psycopg2
import psycopg2.errors
import psycopg2.extensions
from psycopg2.extensions import POLL_OK, POLL_READ
from psycopg2.extras import NamedTupleCursor

from app.database import hosts

Item = TypeVar("Item")

# Seconds. PostgreSQL itself cancels a slow statement; the timeout for the reply is for a
# server that is silent.
CONNECT_TIMEOUT = 2.0
STATEMENT_TIMEOUT = 2.0
REPLY_TIMEOUT = 2.5

# These are statements, because PgBouncer refuses such settings as connection options. If this
# machine or the network fails, PostgreSQL ends the connection and its transaction, so that no
# lock remains. The TCP settings have no effect on a Unix socket.
CONFIGURE = """
    SET statement_timeout = %(statement)s;
    SET idle_in_transaction_session_timeout = %(transaction)s;
    SET tcp_keepalives_idle = 10;
    SET tcp_keepalives_interval = 3;
    SET tcp_keepalives_count = 3;
    SET tcp_user_timeout = 20000;
"""
# PostgreSQL recovers from the crash of one of its processes without changing its start time,
# but it resets its statistics. So both times together identify an instance.
SELECT_INSTANCE = """
    SELECT concat_ws(' ', pg_postmaster_start_time(), pg_stat_get_bgwriter_stat_reset_time())
"""


def _wait_with_poll(descriptor: int, for_reading: bool, seconds: float) -> bool:
    """Wait until a socket is readable or writable. Returns False after `seconds`."""
    poller = select.poll()
    poller.register(descriptor, select.POLLIN if for_reading else select.POLLOUT)
    return bool(poller.poll(seconds * 1000))


class DatabaseConnection(psycopg2.extensions.connection):
    """A connection that raises an exception if PostgreSQL has not replied by `deadline`.

    `deadline` is a `time.monotonic()`. `instance` identifies the running PostgreSQL: it
    changes after a failover, a restart or the recovery from a crash. All connections
    wait with `wait_until_ready`, which gunicorn.conf.py replaces.
    """

    instance: str
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
    """Make psycopg2 wait with `_wait`, in the whole process.

    From then on, every connection in it must be a `DatabaseConnection`.
    """
    psycopg2.extensions.set_wait_callback(_wait)


def _wait(connection: DatabaseConnection) -> None:
    """Wait until libpq has completed its operation.

    psycopg2 calls this instead of libpq's blocking functions, so libpq's `connect_timeout`
    has no effect. `wait_until_ready` may run other requests meanwhile.
    """
    while (state := connection.poll()) != POLL_OK:
        seconds = max(0.0, connection.deadline - time.monotonic())
        if not connection.wait_until_ready(connection.fileno(), state == POLL_READ, seconds):
            raise psycopg2.OperationalError("PostgreSQL does not reply")


def connect(
    database: Mapping[str, Any],
    statement_timeout: float = STATEMENT_TIMEOUT,
    timeout: float = CONNECT_TIMEOUT,
) -> DatabaseConnection:
    """Open a connection in autocommit mode. Raises `psycopg2.OperationalError`.

    `database` holds the arguments for `psycopg2.connect`. PostgreSQL cancels a statement
    after `statement_timeout` seconds, and ends a transaction that has been idle for
    `statement_timeout` + 1 seconds. If there are several hosts, or a host has several
    addresses, each gets an equal share of `timeout` seconds; libpq would wait for the first
    address only.
    """
    _set_wait_callback()
    deadline = time.monotonic() + timeout
    errors = []
    for host, host_deadline in _with_deadlines(hosts.split(database), deadline):
        try:
            addresses = hosts.resolve(host, host_deadline)
        except psycopg2.OperationalError as error:
            errors.append(str(error))
            continue
        for address, address_deadline in _with_deadlines(addresses, host_deadline):
            try:
                return _connect({**database, **address}, statement_timeout, address_deadline)
            except psycopg2.OperationalError as error:
                errors.append(str(error).strip())
    raise psycopg2.OperationalError("\n".join(errors))


def _with_deadlines(items: Sequence[Item], deadline: float) -> Iterator[tuple[Item, float]]:
    """Yield each item with its deadline, so that the rest share the remaining time equally."""
    for number, item in enumerate(items):
        now = time.monotonic()
        yield item, now + (deadline - now) / (len(items) - number)


def _connect(
    database: Mapping[str, Any], statement_timeout: float, deadline: float
) -> DatabaseConnection:
    connection: DatabaseConnection = psycopg2.connect(
        **database,
        connection_factory=partial(DatabaseConnection, deadline=deadline),
        cursor_factory=NamedTupleCursor,
        application_name="scheduler-api",
        client_encoding="UTF8",
        keepalives_idle=10,
        keepalives_interval=3,
        keepalives_count=3,
    )
    connection.autocommit = True
    with connection.cursor() as cursor:
        milliseconds = int(statement_timeout * 1000)
        cursor.execute(
            CONFIGURE + SELECT_INSTANCE,
            {"statement": milliseconds, "transaction": milliseconds + 1000},
        )
        row: Any = cursor.fetchone()
        connection.instance = row[0]
    return connection
