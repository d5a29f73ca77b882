"""The change listener: receives every committed change, by any client of PostgreSQL.

Each worker has one connection that listens to the triggers of create.sql. Subscribers
receive the changes in commit order. The listener reconnects automatically. After a gap
or a TRUNCATE, the subscribers compare what they received with what is stored. Every
`VERIFY_INTERVAL` they check it, which finds changes without a notification.
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

from app.database import hosts
from app.database.connection import REPLY_TIMEOUT, DatabaseConnection, connect

log = logging.getLogger(__name__)

CHANNEL = "scheduler_changes"
# Identifies the listener's connection in pg_stat_activity.
APPLICATION_NAME = "scheduler-api listener"
# Seconds.
VERIFY_INTERVAL = 4.0
RECONNECT_INTERVAL = 0.2
# A notification may arrive this long after its commit becomes visible.
NOTIFICATION_DELAY = 0.2
STOP_TIMEOUT = 0.25
# Notifications parsed before other threads get a turn.
BATCH_SIZE = 100
# Changes received before they are passed on. With many at once, the cache is invalidated
# before the first one is broadcast.
MAX_CHANGES = 10_000
COLLECT_TIMEOUT = 0.2


class Change(NamedTuple):
    """A committed change of an interview, or of other data if `appointment_id` is None.

    `interview` is the new state, None if the interview was deleted. `xmin` is the id of
    the (sub)transaction that wrote the row.
    """

    transaction_id: int
    appointment_id: int | None = None
    interview: Mapping[str, Any] | None = None
    xmin: int = 0


class Subscriber:
    """Receives changes. The listener's thread makes one call at a time."""

    def receive(self, changes: Sequence[Change]) -> None:
        """Process committed changes, in commit order."""

    def compare(self, connection: DatabaseConnection) -> int:
        """Find changes that were not received. Returns their number."""
        return 0

    def is_current(self, connection: DatabaseConnection) -> bool:
        """Return whether everything that is stored was received."""
        return True


class ChangeListener:
    """The listener of one process. It connects after `start`."""

    def __init__(self, database: Mapping[str, Any]) -> None:
        self._database = database
        self._subscribers: list[Subscriber] = []
        self._thread: threading.Thread | None = None
        self._is_stopping = threading.Event()
        self._has_listened = threading.Event()
        self._last_problem = ""
        self._has_warned = False

    def subscribe(self, subscriber: Subscriber) -> None:
        """Add a subscriber. Call this before `start`."""
        self._subscribers.append(subscriber)

    def start(self) -> None:
        """Start the thread, once per process."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="change listener", daemon=True)
            self._thread.start()

    def stop(self) -> None:
        """Stop the thread and wait until it ends."""
        self._is_stopping.set()
        if self._thread:
            self._thread.join()

    def wait_until_listening(self, timeout: float) -> None:
        """Wait at most `timeout` seconds until the listener has connected once."""
        self._has_listened.wait(timeout)

    def _run(self) -> None:
        while not self._is_stopping.is_set():
            try:
                with closing(connect(self._database)) as connection:
                    self._listen(connection)
            except psycopg2.Error as error:
                if hosts.is_attached(self._database):
                    self._log_problem(str(error).strip().partition("\n")[0])
                else:
                    self._log_problem("no database is attached; set DATABASE_URL")
            except Exception as error:
                # The thread must not end: nothing would restart it.
                log.error("the change listener failed", exc_info=error)
            self._is_stopping.wait(RECONNECT_INTERVAL)

    def _listen(self, connection: DatabaseConnection) -> None:
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

    def _receive(self, connection: DatabaseConnection, timeout: float) -> None:
        """Wait at most `timeout` seconds for notifications, and pass them on."""
        changes: list[Change] = []
        has_gap = False
        # A query may have brought notifications with its result.
        is_readable = bool(connection.notifies) or _is_readable(connection, timeout)
        until = time.monotonic() + COLLECT_TIMEOUT
        while is_readable and len(changes) < MAX_CHANGES and time.monotonic() < until:
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

    def _compare(self, connection: DatabaseConnection) -> int:
        changes = 0
        for subscriber in self._subscribers:
            connection.deadline = time.monotonic() + REPLY_TIMEOUT
            changes += subscriber.compare(connection)
        return changes

    def _verify(self, connection: DatabaseConnection) -> None:
        """Find changes without a notification."""
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

    def _is_current(self, connection: DatabaseConnection) -> bool:
        connection.deadline = time.monotonic() + REPLY_TIMEOUT
        return all(subscriber.is_current(connection) for subscriber in self._subscribers)

    def _log_listening(self, connection: DatabaseConnection) -> None:
        where = hosts.address(self._database)
        version = connection.info.parameter_status("server_version")
        log.info(
            "listening for changes",
            extra={"host": where.host, "database": where.database, "postgres": version},
        )
        self._last_problem = ""

    def _log_problem(self, problem: str) -> None:
        """Log a problem once, not at every attempt to connect."""
        if problem != self._last_problem:
            self._last_problem = problem
            where = hosts.address(self._database)
            log.warning("not listening for changes", extra={"error": problem, "host": where.host})


def _check_that_notifications_arrive(connection: DatabaseConnection) -> None:
    """Raise an error behind a pooler in transaction mode, where LISTEN has no effect."""
    token = json.dumps({"listener": str(uuid.uuid4())})
    _execute(connection, f"SELECT pg_notify('{CHANNEL}', %s)", [token])
    _execute(connection, "SELECT 1")
    if token not in {notification.payload for notification in connection.notifies}:
        raise psycopg2.OperationalError(
            "notifications do not arrive; connect to PostgreSQL itself, not to a pooler"
        )


def _is_readable(connection: DatabaseConnection, timeout: float) -> bool:
    return connection.wait_until_ready(connection.fileno(), True, timeout)


def _parse(text: str) -> dict[str, Any]:
    """Return the parsed payload of a trigger, empty for any other NOTIFY."""
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


def _execute(connection: DatabaseConnection, statement: str, parameters: Any = None) -> None:
    connection.deadline = time.monotonic() + REPLY_TIMEOUT
    with connection.cursor() as cursor:
        cursor.execute(statement, parameters)
