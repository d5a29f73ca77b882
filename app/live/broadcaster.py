"""The broadcaster: sends every change of an interview to every open WebSocket.

It receives the changes of all processes from the change listener. It remembers the last
sent state of each appointment. After a gap, it sends the difference between these and
what is stored.
"""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import psycopg2.extensions
from websockets.frames import CloseCode

from app.database.change_listener import Change, Subscriber
from app.database.connection import DatabaseConnection
from app.live.websocket import WebSocket, text_frame

log = logging.getLogger(__name__)

# Changes sent before the sockets get a turn to write them.
BATCH_SIZE = 100
# Rows fetched before other threads get a turn.
FETCH_SIZE = 1_000
# Seconds between checks for sockets that need a ping or have timed out.
KEEP_ALIVE_INTERVAL = 1.0

SELECT_INTERVIEWS = """
    SELECT appointment_id, student, interviewer_id, xmin::text::bigint
    FROM interviews
    WHERE appointment_id IS NOT NULL
"""

# Every write of a row changes its xmin, the id of the transaction that wrote it.
SELECT_FINGERPRINT = """
    SELECT count(*), coalesce(sum(xmin::text::bigint), 0)
    FROM interviews
    WHERE appointment_id IS NOT NULL
"""


class SentInterview(NamedTuple):
    """The last sent state of a booked appointment, and its row's xmin."""

    interview: Mapping[str, Any]
    xmin: int


class Snapshot(NamedTuple):
    """The transactions that a statement saw (PostgreSQL's type pg_snapshot)."""

    xmax: int
    in_progress: frozenset[int]

    @classmethod
    def parse(cls, text: str) -> Snapshot:
        """Parse PostgreSQL's text form, `xmin:xmax:xip,xip`."""
        _, xmax, in_progress = text.split(":")
        return cls(int(xmax), frozenset(map(int, filter(None, in_progress.split(",")))))

    def saw(self, transaction_id: int) -> bool:
        """Return whether the transaction's changes were visible."""
        return transaction_id < self.xmax and transaction_id not in self.in_progress


class Broadcaster(Subscriber):
    """The open sockets of one worker, and the last sent states."""

    def __init__(self) -> None:
        self._clients: set[WebSocket] = set()
        self._lock = threading.Lock()
        self._sent: dict[int, SentInterview] = {}
        self._compared = Snapshot(0, frozenset())
        self._keep_alive_thread: threading.Thread | None = None
        self.is_stopping = False
        # Clients that send too much take turns.
        self.greedy = threading.Lock()

    def serve(self, client: WebSocket, request_id: str) -> None:
        """Serve a socket and send it every change, until it closes."""
        started = time.monotonic()
        with self._lock:
            self._clients.add(client)
            if self._keep_alive_thread is None:
                self._keep_alive_thread = threading.Thread(
                    target=self._keep_alive, name="keep alive", daemon=True
                )
                self._keep_alive_thread.start()
        if self.is_stopping:
            # `stop` may have run before this socket was added.
            client.close(CloseCode.GOING_AWAY)
        log.info("socket opened", extra={"sockets": len(self._clients), "request_id": request_id})
        try:
            client.run()
        finally:
            with self._lock:
                self._clients.discard(client)
            if not self.is_stopping:
                log.info(
                    "socket closed",
                    extra={
                        "code": client.close_code,
                        "seconds": round(time.monotonic() - started, 1),
                        "sockets": len(self._clients),
                        "request_id": request_id,
                    },
                )

    def stop(self) -> None:
        """Close every socket with 1001: the server is stopping."""
        self.is_stopping = True
        clients = self._open_clients()
        if clients:
            log.info("closing all sockets", extra={"sockets": len(clients)})
        for client in clients:
            client.close(CloseCode.GOING_AWAY)

    def receive(self, changes: Sequence[Change]) -> None:
        """Send the interviews that changed to every client."""
        for start in range(0, len(changes), BATCH_SIZE):
            batch = []
            for change in changes[start : start + BATCH_SIZE]:
                # The last comparison has sent this change, or a newer state.
                if change.appointment_id is None or self._compared.saw(change.transaction_id):
                    continue
                if change.interview is None:
                    self._sent.pop(change.appointment_id, None)
                else:
                    self._sent[change.appointment_id] = SentInterview(change.interview, change.xmin)
                batch.append((change.appointment_id, change.interview))
            self._send(batch)

    def compare(self, connection: DatabaseConnection) -> int:
        """Send the changes that were missed. Returns their number.

        Rows that were written without a change count too.
        """
        stored = self._fetch_interviews(connection)
        sent, self._sent = self._sent, stored
        missed = [
            (appointment_id, interview.interview if interview else None)
            for appointment_id in sorted(sent.keys() | stored.keys())
            if (interview := stored.get(appointment_id)) != sent.get(appointment_id)
        ]
        for start in range(0, len(missed), BATCH_SIZE):
            self._send(missed[start : start + BATCH_SIZE])
        return len(missed)

    def is_current(self, connection: DatabaseConnection) -> bool:
        """Return whether the last sent states are what is stored."""
        with _cursor(connection) as cursor:
            cursor.execute(SELECT_FINGERPRINT)
            row: Any = cursor.fetchone()
        count, total = row
        return (count, total) == (len(self._sent), sum(sent.xmin for sent in self._sent.values()))

    def _fetch_interviews(self, connection: DatabaseConnection) -> dict[int, SentInterview]:
        interviews: dict[int, SentInterview] = {}
        with _cursor(connection) as cursor:
            # Both statements use the same snapshot.
            cursor.execute("BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY")
            cursor.execute("SELECT pg_current_snapshot()::text")
            row: Any = cursor.fetchone()
            compared = Snapshot.parse(row[0])
            cursor.execute(SELECT_INTERVIEWS)
            while rows := cursor.fetchmany(FETCH_SIZE):
                for appointment_id, student, interviewer, xmin in rows:
                    interview = {"student": student, "interviewer": interviewer}
                    interviews[appointment_id] = SentInterview(interview, xmin)
                time.sleep(0)
            cursor.execute("COMMIT")
        self._compared = compared
        return interviews

    def _send(self, interviews: Sequence[tuple[int, Mapping[str, Any] | None]]) -> None:
        """Queue the interviews at every socket, then let the sockets write."""
        clients = self._open_clients()
        if not clients or not interviews:
            return
        frames = b"".join(
            text_frame(
                json.dumps(
                    {"type": "SET_INTERVIEW", "id": appointment_id, "interview": interview},
                    separators=(",", ":"),
                    ensure_ascii=False,
                )
            )
            for appointment_id, interview in interviews
        )
        for client in clients:
            client.send(frames)
        what = f"appointment {interviews[0][0]}"
        if len(interviews) > 1:
            what = f"{len(interviews)} appointments"
        log.info("broadcast", extra={"what": what, "sockets": len(clients)})
        time.sleep(0)

    def _open_clients(self) -> list[WebSocket]:
        with self._lock:
            return list(self._clients)

    def _keep_alive(self) -> None:
        while not self.is_stopping:
            time.sleep(KEEP_ALIVE_INTERVAL)
            now = time.monotonic()
            for client in self._open_clients():
                client.keep_alive(now)


def _cursor(connection: DatabaseConnection) -> psycopg2.extensions.cursor:
    """Return a cursor that returns plain tuples, the fastest for many rows."""
    return connection.cursor(cursor_factory=psycopg2.extensions.cursor)
