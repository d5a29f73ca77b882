"""Live updates: every change to an interview, to every browser, over a WebSocket.

A socket opens on any path. What is sent is what the change feed hears, so it does
not matter which process a change went through. After a gap in the feed clients
get the difference between what they were last told and what is stored.
"""

from __future__ import annotations

import atexit
import json
import logging
import threading
import time
from collections.abc import Collection, Iterable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from flask import Flask
from websockets.frames import CloseCode

from app.database.change_listener import Change, Feed
from app.database.pool import Connection
from app.http import cors
from app.http.errors import problem, unavailable
from app.live import websocket
from app.live.websocket import WebSocket

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

log = logging.getLogger(__name__)

# After how many frames in a row the sockets get time to write them.
BURST = 100
# Seconds that a handshake waits for the feed when the process has just begun.
FEED_WITHIN = 2.0

SELECT_INTERVIEWS = """
    SELECT
      pg_current_snapshot()::text AS snapshot,
      coalesce(json_object_agg(slot.id, slot), '{}') AS slots
    FROM (
      SELECT
        appointments.id,
        coalesce(interviews.xmin::text::bigint, 0) AS stored_by,
        CASE WHEN interviews.id IS NOT NULL THEN
          json_build_object(
            'student', interviews.student,
            'interviewer', interviews.interviewer_id
          )
        END AS interview
      FROM appointments
      LEFT JOIN interviews ON interviews.appointment_id = appointments.id
    ) AS slot
"""


class Told(NamedTuple):
    """What clients know of a slot: its interview, and the transaction that stored it.

    The transaction as a row's `xmin` has it, in 32 bits; 0 where there is no interview.
    """

    interview: Mapping[str, Any] | None
    stored_by: int


class Snapshot(NamedTuple):
    """Which transactions a statement saw (PostgreSQL's pg_snapshot)."""

    xmax: int
    in_progress: frozenset[int]

    @classmethod
    def parse(cls, text: str) -> Snapshot:
        """Read PostgreSQL's text for it, `xmin:xmax:xip,xip`."""
        _, xmax, in_progress = text.split(":")
        return cls(int(xmax), frozenset(map(int, filter(None, in_progress.split(",")))))

    def saw(self, transaction_id: int) -> bool:
        """Whether what this transaction changed was there."""
        return transaction_id < self.xmax and transaction_id not in self.in_progress


def init_app(app: Flask) -> None:
    """Wrap the application: WebSocket handshakes are answered here, all else passes."""
    live = Live(app.wsgi_app, app.extensions["changes"], app.config["CORS_ORIGINS"])
    app.extensions["live"] = live
    app.extensions["changes"].subscribe(live)
    app.wsgi_app = live  # type: ignore[method-assign]


class Live:
    """The middleware and its open sockets."""

    def __init__(self, wsgi_app: WSGIApplication, feed: Feed, origins: Collection[str]) -> None:
        self.wsgi_app = wsgi_app
        self._feed = feed
        self._origins = origins
        self._clients: set[WebSocket] = set()
        self._lock = threading.Lock()
        self._told: dict[int, Told] = {}
        self._resumed = Snapshot(0, frozenset())
        self._sent = 0
        self._is_stopping = False
        self._pinger: threading.Thread | None = None

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Answer a request (PEP 3333), or keep its connection as a WebSocket."""
        if not websocket.is_handshake(environ):
            # An offer to speak something else, which may be ignored (RFC 9110, section 7.8).
            environ.pop("HTTP_UPGRADE", None)
            return self.wsgi_app(environ, start_response)
        if not cors.is_allowed(environ.get("HTTP_ORIGIN"), self._origins):
            return problem(403, "This origin may not connect.")(environ, start_response)
        if self._is_stopping:
            return unavailable()(environ, start_response)
        answer = websocket.answer_handshake(environ)
        if answer.status_code != 101:
            refusal = problem(answer.status_code, "This is no WebSocket handshake (RFC 6455).")
            refusal.headers["Sec-WebSocket-Version"] = "13"
            return refusal(environ, start_response)
        self._serve(WebSocket(websocket.connection_of(environ), answer.serialize()), environ)
        raise websocket.handed_over(environ)

    def changed(self, change: Change) -> None:
        """Tell every client of an interview that was changed."""
        if change.appointment_id is not None and not self._resumed.saw(change.transaction_id):
            stored_by = change.transaction_id % 2**32 if change.interview else 0
            self._told[change.appointment_id] = Told(change.interview, stored_by)
            self._send(change.appointment_id, change.interview)

    def resumed(self, connection: Connection) -> None:
        """Tell every client what it has missed, also what was stored again as it was."""
        with connection.cursor() as cursor:
            cursor.execute(SELECT_INTERVIEWS)
            row: Any = cursor.fetchone()
        # What it saw may be notified only now, and would go back in time.
        self._resumed = Snapshot.parse(row.snapshot)
        stored = {
            int(slot): Told(known["interview"], known["stored_by"])
            for slot, known in row.slots.items()
        }
        told, self._told = self._told, stored
        for slot in sorted(told.keys() | stored.keys()):
            if told.get(slot) != stored.get(slot):
                self._send(slot, stored[slot].interview if slot in stored else None)

    def stop(self) -> None:
        """Close every socket: the server goes away."""
        self._is_stopping = True
        clients = self._snapshot()
        if clients:
            log.info("closing all sockets", extra={"sockets": len(clients)})
        for client in clients:
            client.close(CloseCode.GOING_AWAY)

    def _serve(self, client: WebSocket, environ: WSGIEnvironment) -> None:
        started = time.monotonic()
        self._feed.start()
        # Who opens a socket before the feed is up would be told of every slot once it is.
        self._feed.wait_until_it_has_begun(FEED_WITHIN)
        with self._lock:
            self._clients.add(client)
            if self._pinger is None:
                atexit.register(self.stop)
                self._pinger = threading.Thread(target=self._ping, name="pinger", daemon=True)
                self._pinger.start()
        if self._is_stopping:
            # Came too late for `stop` to know it.
            client.close(CloseCode.GOING_AWAY)
        request_id = environ["HTTP_X_REQUEST_ID"]
        log.info("socket opened", extra={"sockets": len(self._clients), "request_id": request_id})
        try:
            client.run()
        finally:
            with self._lock:
                self._clients.discard(client)
            if not self._is_stopping:
                log.info(
                    "socket closed",
                    extra={
                        "code": client.close_code,
                        "seconds": round(time.monotonic() - started, 1),
                        "sockets": len(self._clients),
                        "request_id": request_id,
                    },
                )

    def _snapshot(self) -> list[WebSocket]:
        with self._lock:
            return list(self._clients)

    def _send(self, appointment_id: int, interview: Mapping[str, Any] | None) -> None:
        clients = self._snapshot()
        if not clients:
            return
        message = {"type": "SET_INTERVIEW", "id": appointment_id, "interview": interview}
        frame = websocket.text_frame(json.dumps(message, separators=(",", ":"), ensure_ascii=False))
        for client in clients:
            client.send(frame)
        self._sent += 1
        if self._sent % BURST == 0:
            time.sleep(0)

    def _ping(self) -> None:
        while not self._is_stopping:
            time.sleep(1.0)
            now = time.monotonic()
            for client in self._snapshot():
                client.keep_alive(now)
