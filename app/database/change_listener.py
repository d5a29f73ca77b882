"""The change listener: receives every committed change, by any client of PostgreSQL.

Each worker has one connection that listens to the triggers of create.sql. Subscribers
receive notified changes in commit order. The listener reconnects automatically.

It also finds changes without a notification: it remembers the last state of every
interview, and compares it with what is stored. It compares after every connect, after a
TRUNCATE, and if a fingerprint differs. The fingerprint is the number of rows and the sum of
their `xmin`; it is checked every `VERIFY_INTERVAL`.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import closing
from typing import Any, Protocol

import psycopg2

from app.database import hosts, interviews, notifications
from app.database.connection import DatabaseConnection, connect
from app.database.notifications import Change

log = logging.getLogger(__name__)

# Seconds.
VERIFY_INTERVAL = 4.0
RECONNECT_INTERVAL = 0.2
# Seconds to wait for notifications before it checks whether to stop.
RECEIVE_TIMEOUT = 0.25
# Seconds to pause after receiving changes. Waking up costs more than handling a change, so
# during a burst this collects many.
PAUSE = 0.002
# Any data may have changed.
UNKNOWN = Change()


class Subscriber(Protocol):
    """Receives changes."""

    def receive(self, changes: Sequence[Change]) -> None:
        """Process committed changes. The listener's thread calls this."""


class ChangeListener:
    """The listener of one process. It connects after `start`."""

    def __init__(self, database: Mapping[str, Any]) -> None:
        self._database = database
        self._subscribers: list[Subscriber] = []
        self._interviews: interviews.Interviews = {}
        self._thread: threading.Thread | None = None
        self._is_stopping = threading.Event()
        self._has_listened = threading.Event()
        self._last_problem = ""
        self._must_compare = False
        self._has_warned = False

    def subscribe(self, subscriber: Subscriber) -> None:
        """Add a subscriber. Call this before `start`.

        Subscribers receive each change in the order in which they subscribed.
        """
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
                if hosts.is_configured(self._database):
                    self._log_problem(str(error).strip().partition("\n")[0])
                else:
                    self._log_problem("no database is configured; set DATABASE_URL")
            except Exception as error:
                # The thread must not end: nothing would restart it.
                log.error("the change listener failed", exc_info=error)
            self._is_stopping.wait(RECONNECT_INTERVAL)

    def _listen(self, connection: DatabaseConnection) -> None:
        notifications.free_queue(connection)
        notifications.listen(connection)
        self._pass_on([UNKNOWN])
        self._compare(connection)
        self._has_listened.set()
        self._log_listening(connection)
        verify_at = time.monotonic() + VERIFY_INTERVAL
        while not self._is_stopping.is_set():
            if changes := notifications.receive(connection, RECEIVE_TIMEOUT):
                self._pass_on(changes)
                time.sleep(PAUSE)
            if self._must_compare:
                self._must_compare = False
                self._compare(connection)
            if time.monotonic() > verify_at:
                notifications.free_queue(connection)
                self._verify(connection)
                verify_at = time.monotonic() + VERIFY_INTERVAL

    def _pass_on(self, changes: Sequence[Change]) -> None:
        for subscriber in self._subscribers:
            subscriber.receive(changes)
        interviews.apply(changes, self._interviews)
        self._must_compare |= any(change.must_compare for change in changes)

    def _compare(self, connection: DatabaseConnection) -> int:
        """Find changes for which no notification arrived, and pass them on. Returns their number.

        The cache is invalidated after the interviews are fetched, and before the broadcast. So a
        client whose WebSocket opens too late for the broadcast sees them in its next read.
        """
        stored = interviews.fetch(connection)
        changes = notifications.receive_all(connection)
        # These may be newer than the fetched rows. They are passed on last, and differences of
        # the same appointments are dropped.
        notified = {change.appointment_id for change in changes}
        differences = interviews.compare(self._interviews, stored)
        missed = [change for change in differences if change.appointment_id not in notified]
        self._pass_on(missed)
        self._pass_on(changes)
        return len(missed)

    def _verify(self, connection: DatabaseConnection) -> None:
        """Compare if the interviews seem to differ, and warn if changes were missed."""
        if interviews.are_stored(self._interviews, connection):
            return
        missed = self._compare(connection)
        if missed and not self._must_compare and not self._has_warned:
            self._has_warned = True
            log.warning(
                "interviews changed without a notification",
                extra={
                    "hint": "if triggers are missing, run: flask db prepare; if they are disabled: "
                    "ALTER TABLE interviews ENABLE TRIGGER USER"
                },
            )

    def _log_listening(self, connection: DatabaseConnection) -> None:
        where = hosts.location(self._database)
        version = connection.info.parameter_status("server_version")
        log.info(
            "listening for changes",
            extra={"host": where.server, "database": where.database, "postgres": version},
        )
        self._last_problem = ""

    def _log_problem(self, problem: str) -> None:
        """Log a problem once, not at every attempt to connect."""
        if problem != self._last_problem:
            self._last_problem = problem
            where = hosts.location(self._database)
            log.warning("not listening for changes", extra={"error": problem, "host": where.server})
