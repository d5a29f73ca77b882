"""The change feed: hears from PostgreSQL what changed, whoever changed it.

One connection a process listens on the channel that the triggers in create.sql
notify; it tells its subscribers in commit order. Promises: it comes back by
itself when PostgreSQL or the network was away, tells the subscribers when it
may have missed something, and knows whether it can be relied on.
"""

from __future__ import annotations

import json
import logging
import select
import threading
import time
import uuid
from collections.abc import Mapping
from contextlib import closing
from typing import Any, NamedTuple, Protocol

import psycopg2
from flask import Flask

from app.database import pool

log = logging.getLogger(__name__)

CHANNEL = "scheduler_changes"
# Seconds: how often the feed proves itself alive, and for how long that is believed.
PROVE_EVERY = 0.5
BELIEVED_FOR = 5.0
RETRY_EVERY = 0.2
STOPS_WITHIN = 0.25

# Without its triggers a table changes in silence: one each, and one for TRUNCATE interviews.
# Those that fire in a usual session are 'O' or 'A' in pg_trigger.tgenabled.
TRIGGERS = 6
# Nor does one fire for ALTER TABLE, for what is changed while it is disabled, or for
# a dump, which fills the tables before it makes the triggers. Each of those leaves
# another xmin (the transaction that wrote the row) in one of PostgreSQL's own tables.
SELECT_TRIGGERS = """
    SELECT coalesce(
      array_agg((pg_trigger.oid, pg_trigger.xmin, columns.xmins)::text ORDER BY pg_trigger.oid),
      '{}'
    ) AS versions
    FROM pg_trigger
    CROSS JOIN LATERAL (
      SELECT array_agg(xmin ORDER BY attnum) AS xmins
      FROM pg_attribute
      WHERE attrelid = tgrelid AND attnum > 0
    ) AS columns
    WHERE tgname IN ('notify_change', 'notify_truncate') AND tgenabled IN ('O', 'A')
      AND tgrelid IN (
      to_regclass('days'),
      to_regclass('appointments'),
      to_regclass('interviewers'),
      to_regclass('interviews'),
      to_regclass('available_interviewers')
    )
"""


class Change(NamedTuple):
    """A transaction changed something: where a slot is named, its interview.

    The interview is what is stored now, None where it was removed.
    """

    transaction_id: int
    appointment_id: int | None = None
    interview: Mapping[str, Any] | None = None


class Subscriber(Protocol):
    """Who wants to hear; called from the feed's thread, one call at a time."""

    def changed(self, change: Change) -> None:
        """Something changed."""

    def resumed(self, connection: pool.Connection) -> None:
        """The feed is back, or a whole table changed; anything may have changed meanwhile."""


class Feed:
    """The listener of a process; does nothing before `start`."""

    def __init__(self, database: Mapping[str, Any]) -> None:
        self._database = database
        self._subscribers: list[Subscriber] = []
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._stopped = threading.Event()
        self._proved_at = float("-inf")
        self._has_begun = threading.Event()
        self._triggers: list[str] = []
        self._complaint = ""

    def subscribe(self, subscriber: Subscriber) -> None:
        """Tell this one too; before `start`."""
        self._subscribers.append(subscriber)

    def start(self) -> None:
        """Begin to listen, once in a process."""
        if self._thread is None:
            with self._lock:
                if self._thread is None:
                    self._thread = threading.Thread(target=self._run, name="changes", daemon=True)
                    self._thread.start()

    def stop(self) -> None:
        """Stop listening, for good."""
        self._stopped.set()
        if self._thread:
            self._thread.join()

    def wait_until_it_has_begun(self, timeout: float) -> None:
        """Wait until the feed has been up once, or for `timeout` seconds."""
        self._has_begun.wait(timeout)

    @property
    def is_reliable(self) -> bool:
        """Whether every change has been heard up to the last few moments."""
        return time.monotonic() - self._proved_at < BELIEVED_FOR

    def _run(self) -> None:
        while not self._stopped.is_set():
            try:
                with closing(pool.connect(self._database)) as connection:
                    self._listen(connection)
            except psycopg2.Error as error:
                if pool.is_attached(self._database):
                    self._complain(str(error).strip().partition("\n")[0])
                else:
                    self._complain("no database is attached; set DATABASE_URL")
            except Exception as error:
                # A feed that ended here would never come back.
                log.error("the feed failed", exc_info=error)
            finally:
                self._proved_at = float("-inf")
            self._stopped.wait(RETRY_EVERY)

    def _listen(self, connection: pool.Connection) -> None:
        _execute(connection, f"LISTEN {CHANNEL}")
        self._check_that_notifications_arrive(connection)
        poller = select.poll()
        poller.register(connection.fileno(), select.POLLIN)
        self._triggers = []
        while not self._stopped.is_set():
            self._look_at_the_triggers(connection)
            self._tell(connection)
            prove_at = time.monotonic() + PROVE_EVERY
            while (seconds := prove_at - time.monotonic()) > 0 and not self._stopped.is_set():
                if poller.poll(min(seconds, STOPS_WITHIN) * 1000):
                    connection.poll()
                    self._tell(connection)

    def _check_that_notifications_arrive(self, connection: pool.Connection) -> None:
        """A pooler in transaction mode accepts LISTEN, and nothing ever comes."""
        token = json.dumps({"listener": str(uuid.uuid4())})
        _execute(connection, f"SELECT pg_notify('{CHANNEL}', %s)", [token])
        _execute(connection, "SELECT 1")
        if token not in {notify.payload for notify in connection.notifies}:
            raise psycopg2.OperationalError(
                "notifications do not arrive; connect to PostgreSQL itself, not to a pooler"
            )

    def _look_at_the_triggers(self, connection: pool.Connection) -> None:
        """Prove that changes are told, and resume if they may not have been since last time."""
        known, self._triggers = self._triggers, _execute(connection, SELECT_TRIGGERS).versions
        if len(self._triggers) != TRIGGERS:
            self._triggers = []
            self._proved_at = float("-inf")
            self._complain("tables or triggers are missing; run: flask db prepare")
            return
        if self._triggers != known:
            self._resume(connection)
        if not known:
            self._log_listening(connection)
        self._proved_at = time.monotonic()

    def _resume(self, connection: pool.Connection) -> None:
        for subscriber in self._subscribers:
            connection.deadline = time.monotonic() + pool.REPLY_TIMEOUT
            subscriber.resumed(connection)
        self._has_begun.set()

    def _tell(self, connection: pool.Connection) -> None:
        # A subscriber that asks PostgreSQL something may get more of them with the answer.
        while connection.notifies:
            match _parse(connection.notifies.pop(0).payload):
                case {
                    "transaction": int(transaction_id),
                    "id": appointment_id,
                    "interview": interview,
                }:
                    self._tell_subscribers(Change(transaction_id, appointment_id, interview))
                case {"compare": True}:
                    self._triggers = []
                    self._look_at_the_triggers(connection)
                case {"transaction": int(transaction_id)}:
                    self._tell_subscribers(Change(transaction_id))

    def _tell_subscribers(self, change: Change) -> None:
        for subscriber in self._subscribers:
            subscriber.changed(change)

    def _log_listening(self, connection: pool.Connection) -> None:
        where = pool.address(self._database)
        version = connection.info.parameter_status("server_version")
        log.info(
            "listening for changes",
            extra={"host": where.host, "database": where.database, "postgres": version},
        )
        self._complaint = ""

    def _complain(self, complaint: str) -> None:
        """Log what keeps the feed from working: once, not at every try."""
        if complaint != self._complaint:
            self._complaint = complaint
            where = pool.address(self._database)
            log.warning("not listening for changes", extra={"error": complaint, "host": where.host})


def init_app(app: Flask) -> None:
    """Give the application its feed. Starts nothing."""
    app.extensions["changes"] = Feed(app.config["DATABASE"])


def _parse(payload: str) -> Any:
    try:
        return json.loads(payload)
    except ValueError:
        return None  # somebody's own NOTIFY


def _execute(connection: pool.Connection, statement: str, parameters: Any = None) -> Any:
    connection.deadline = time.monotonic() + pool.REPLY_TIMEOUT
    with connection.cursor() as cursor:
        cursor.execute(statement, parameters)
        return cursor.fetchone() if cursor.description else None
