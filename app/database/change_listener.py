"""The change listener: receives every committed change from PostgreSQL, whoever made it.

One connection per worker listens on the channel that the triggers of create.sql
notify. Subscribers get the changes in commit order. The listener reconnects by
itself; after a gap, and when a whole table changed, its subscribers compare what
they know with what is stored. Every few seconds they also verify it, so that a
change is found of which no notification arrives.
"""

from __future__ import annotations

import json
import logging
import threading
import time
import uuid
from collections.abc import Mapping, Sequence
from contextlib import closing
from typing import Any, NamedTuple

import psycopg2

from app.database import pool

log = logging.getLogger(__name__)

CHANNEL = "scheduler_changes"
# Tells the listener's connection from the pool's in pg_stat_activity.
APPLICATION_NAME = "scheduler-api listener"
# Seconds.
VERIFY_INTERVAL = 4.0
RECONNECT_INTERVAL = 0.2
# A notification may arrive this long after its commit is visible to a query.
NOTIFICATION_DELAY = 0.2
STOP_TIMEOUT = 0.25
# After so many notifications in a row, other threads get a turn.
BATCH_SIZE = 100
# Received in one go before anything is passed on, so that caches are invalidated early.
MAX_CHANGES = 10_000


class Change(NamedTuple):
    """A committed change: of an appointment's interview, or of something else in the database.

    `interview` is what is stored now, None if the interview was deleted. `xmin` is
    the id of the (sub)transaction that wrote its row, as PostgreSQL stores it.
    """

    transaction_id: int
    appointment_id: int | None = None
    interview: Mapping[str, Any] | None = None
    xmin: int = 0


class Subscriber:
    """Receives changes, on the listener's thread, one call at a time."""

    def receive(self, changes: Sequence[Change]) -> None:
        """Take note of changes that were committed, in this order."""

    def compare(self, connection: pool.Connection) -> int:
        """Find what changed while nothing was received; return how many changes were found."""
        return 0

    def is_current(self, connection: pool.Connection) -> bool:
        """Whether everything that is stored was received."""
        return True


class ChangeListener:
    """The listener of one process; does nothing before `start`."""

    def __init__(self, database: Mapping[str, Any]) -> None:
        self._database = database
        self._subscribers: list[Subscriber] = []
        self._thread: threading.Thread | None = None
        self._is_stopping = threading.Event()
        self._has_listened = threading.Event()
        self._last_problem = ""
        self._has_warned = False

    def subscribe(self, subscriber: Subscriber) -> None:
        """Add a subscriber, before `start`."""
        self._subscribers.append(subscriber)

    def start(self) -> None:
        """Start to listen, once per process."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="change listener", daemon=True)
            self._thread.start()

    def stop(self) -> None:
        """Stop for good."""
        self._is_stopping.set()
        if self._thread:
            self._thread.join()

    def wait_until_listening(self, timeout: float) -> None:
        """Wait until the listener has been connected once, at most `timeout` seconds."""
        self._has_listened.wait(timeout)

    def _run(self) -> None:
        while not self._is_stopping.is_set():
            try:
                with closing(pool.connect(self._database)) as connection:
                    self._listen(connection)
            except psycopg2.Error as error:
                if pool.is_attached(self._database):
                    self._log_problem(str(error).strip().partition("\n")[0])
                else:
                    self._log_problem("no database is attached; set DATABASE_URL")
            except Exception as error:
                # The thread must not end: nothing would start it again.
                log.error("the change listener failed", exc_info=error)
            self._is_stopping.wait(RECONNECT_INTERVAL)

    def _listen(self, connection: pool.Connection) -> None:
        _execute(connection, f"SET application_name = '{APPLICATION_NAME}'; LISTEN {CHANNEL}")
        _check_that_notifications_arrive(connection)
        self._compare(connection)
        self._has_listened.set()
        self._log_listening(connection)
        verify_at = time.monotonic() + VERIFY_INTERVAL
        while not self._is_stopping.is_set():
            self._receive(connection, STOP_TIMEOUT)
            if time.monotonic() > verify_at:
                self._verify(connection)
                verify_at = time.monotonic() + VERIFY_INTERVAL

    def _receive(self, connection: pool.Connection, timeout: float) -> None:
        """Pass on what has arrived; wait for something `timeout` seconds."""
        changes: list[Change] = []
        has_gap = False
        # A query may have brought notifications with its result.
        is_readable = bool(connection.notifies) or _is_readable(connection, timeout)
        while is_readable and len(changes) < MAX_CHANGES:
            connection.poll()
            notifications, connection.notifies = connection.notifies, []
            for number, notification in enumerate(notifications, 1):
                payload = _parse(notification.payload)
                if payload.get("compare") is True:
                    has_gap = True
                elif payload:
                    changes.append(_change(payload))
                if number % BATCH_SIZE == 0:
                    time.sleep(0)
            is_readable = _is_readable(connection, 0.0)
        if changes:
            for subscriber in self._subscribers:
                subscriber.receive(changes)
        if has_gap:
            self._compare(connection)

    def _compare(self, connection: pool.Connection) -> int:
        changes = 0
        for subscriber in self._subscribers:
            connection.deadline = time.monotonic() + pool.REPLY_TIMEOUT
            changes += subscriber.compare(connection)
        return changes

    def _verify(self, connection: pool.Connection) -> None:
        """Find changes of which no notification arrived."""
        if self._is_current(connection):
            return
        self._receive(connection, NOTIFICATION_DELAY)
        if self._is_current(connection):
            return
        if self._compare(connection) and not self._has_warned:
            self._has_warned = True
            log.warning(
                "interviews changed without a notification",
                extra={"hint": "if triggers are missing, run: flask db prepare"},
            )

    def _is_current(self, connection: pool.Connection) -> bool:
        connection.deadline = time.monotonic() + pool.REPLY_TIMEOUT
        return all(subscriber.is_current(connection) for subscriber in self._subscribers)

    def _log_listening(self, connection: pool.Connection) -> None:
        where = pool.address(self._database)
        version = connection.info.parameter_status("server_version")
        log.info(
            "listening for changes",
            extra={"host": where.host, "database": where.database, "postgres": version},
        )
        self._last_problem = ""

    def _log_problem(self, problem: str) -> None:
        """Log why the listener cannot listen: once, not at every attempt."""
        if problem != self._last_problem:
            self._last_problem = problem
            where = pool.address(self._database)
            log.warning("not listening for changes", extra={"error": problem, "host": where.host})


def _check_that_notifications_arrive(connection: pool.Connection) -> None:
    """Raise an error behind a pooler in transaction mode: it accepts LISTEN without effect."""
    token = json.dumps({"listener": str(uuid.uuid4())})
    _execute(connection, f"SELECT pg_notify('{CHANNEL}', %s)", [token])
    _execute(connection, "SELECT 1")
    if token not in {notification.payload for notification in connection.notifies}:
        raise psycopg2.OperationalError(
            "notifications do not arrive; connect to PostgreSQL itself, not to a pooler"
        )


def _is_readable(connection: pool.Connection, timeout: float) -> bool:
    return connection.wait_until_ready(connection.fileno(), True, timeout)


def _parse(text: str) -> dict[str, Any]:
    """Parse a payload; empty if it is not one of the triggers', but somebody else's NOTIFY."""
    try:
        payload = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    match payload:
        case {"transaction": int(transaction_id)} if 0 < transaction_id < 2**63:
            return payload if isinstance(payload.get("id", 0), int) else {}
    return {}


def _change(payload: Mapping[str, Any]) -> Change:
    transaction_id = payload["transaction"]
    # Triggers of version 1.0 send no xmin.
    xmin = payload.get("xmin") or transaction_id % 2**32
    return Change(transaction_id, payload.get("id"), payload.get("interview"), xmin)


def _execute(connection: pool.Connection, statement: str, parameters: Any = None) -> None:
    connection.deadline = time.monotonic() + pool.REPLY_TIMEOUT
    with connection.cursor() as cursor:
        cursor.execute(statement, parameters)
