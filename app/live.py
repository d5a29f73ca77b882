"""Live updates: every change to an interview, to every browser, over a WebSocket.

A socket opens on any path. What is sent is what the change feed hears, so it does
not matter which process a change went through. After a gap in the feed clients
get the difference between what they were last told and what is stored. A client
that does not read delays nobody: its frames wait in a queue of its own, and who
lets that overflow is closed.
"""

from __future__ import annotations

import atexit
import contextlib
import json
import logging
import socket
import threading
import time
from collections import deque
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from flask import Flask
from websockets.datastructures import Headers
from websockets.frames import Close, CloseCode, Frame, Opcode
from websockets.http11 import Request
from websockets.protocol import SEND_EOF, SERVER, Protocol
from websockets.server import ServerProtocol
from websockets.typing import Subprotocol

from app import cors, db
from app.changes import Change, Feed
from app.errors import problem

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

log = logging.getLogger(__name__)

# Seconds. Heroku's router cuts a connection that is silent for 55.
PING_EVERY = 25.0
GONE_AFTER = 55.0
# A client that reads nothing for this long, or does not answer a close, is let go.
TAKEN_WITHIN = 30.0
CLOSED_WITHIN = 2.0
MAX_MESSAGE_BYTES = 64 * 1024
MAX_WAITING_FRAMES = 500

PONG = Frame(Opcode.TEXT, b'"pong"').serialize(mask=False)
PING = Frame(Opcode.PING, b"").serialize(mask=False)

SELECT_INTERVIEWS = """
    SELECT
      appointments.id AS appointment_id,
      CASE WHEN interviews.id IS NOT NULL THEN
        json_build_object(
          'student', interviews.student,
          'interviewer', interviews.interviewer_id
        )
      END AS interview
    FROM appointments
    LEFT JOIN interviews ON interviews.appointment_id = appointments.id
    ORDER BY appointments.id
"""


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
        self._clients: set[Client] = set()
        self._lock = threading.Lock()
        self._told: dict[int, Mapping[str, Any] | None] = {}
        self._is_stopping = False
        self._pinger: threading.Thread | None = None

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Answer a request (PEP 3333), or keep its connection as a WebSocket."""
        upgrade = environ.get("HTTP_UPGRADE", "").lower()
        if upgrade != "websocket" or environ["REQUEST_METHOD"] != "GET":
            return self.wsgi_app(environ, start_response)
        if not cors.is_allowed(environ.get("HTTP_ORIGIN"), self._origins):
            return problem(403, "This origin may not connect.")(environ, start_response)
        protocol = ServerProtocol(select_subprotocol=_first_offered)
        answer = protocol.accept(_handshake(environ))
        if answer.status_code != 101:
            refusal = problem(answer.status_code, "This is no WebSocket handshake (RFC 6455).")
            if "Sec-WebSocket-Version" in answer.headers:
                refusal.headers["Sec-WebSocket-Version"] = answer.headers["Sec-WebSocket-Version"]
            return refusal(environ, start_response)
        connection: socket.socket = environ.get("gunicorn.socket") or environ["werkzeug.socket"]
        self._serve(Client(connection, answer.serialize()), environ)
        raise _handed_over(environ)

    def changed(self, change: Change | None) -> None:
        """Tell every client of an interview that was changed."""
        if change:
            self._told[change.appointment_id] = change.interview
            self._send(_set_interview(change))

    def resumed(self, connection: db.Connection) -> None:
        """Tell every client what it has missed."""
        with connection.cursor() as cursor:
            cursor.execute(SELECT_INTERVIEWS)
            rows: Iterable[Any] = cursor.fetchall()
            stored = {row.appointment_id: row.interview for row in rows}
        told, self._told = self._told, stored
        for appointment_id in told.keys() | stored.keys():
            interview = stored.get(appointment_id)
            if appointment_id not in told or told[appointment_id] != interview:
                self._send(_set_interview(Change(appointment_id, interview)))

    def stop(self) -> None:
        """Close every socket: the server goes away."""
        self._is_stopping = True
        clients = self._snapshot()
        if clients:
            log.info("closing all sockets", extra={"sockets": len(clients)})
        for client in clients:
            client.close(CloseCode.GOING_AWAY)

    def _serve(self, client: Client, environ: WSGIEnvironment) -> None:
        started = time.monotonic()
        with self._lock:
            self._clients.add(client)
            if self._pinger is None:
                atexit.register(self.stop)
                self._pinger = threading.Thread(target=self._ping, name="pinger", daemon=True)
                self._pinger.start()
        if self._is_stopping:
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

    def _snapshot(self) -> list[Client]:
        with self._lock:
            return list(self._clients)

    def _send(self, frame: bytes) -> None:
        for client in self._snapshot():
            client.send(frame)

    def _ping(self) -> None:
        while not self._is_stopping:
            time.sleep(1.0)
            now = time.monotonic()
            for client in self._snapshot():
                client.keep_alive(now)


class Client:
    """One open socket and the frames that wait for it.

    Whoever has something to say only adds to the queue; a thread of the client's
    own writes, and the request's thread reads.
    """

    def __init__(self, connection: socket.socket, handshake: bytes) -> None:
        self._connection = connection
        self._protocol = Protocol(SERVER, max_size=MAX_MESSAGE_BYTES)
        self._waiting = deque([handshake])
        self._changed = threading.Condition()
        self._is_closing = False
        self._closing_since = float("inf")
        self._is_gone = threading.Event()
        self._heard_at = self._pinged_at = time.monotonic()
        self._message = bytearray()
        self.close_code = CloseCode.ABNORMAL_CLOSURE.value

    def run(self) -> None:
        """Serve this client until it is gone."""
        self._connection.settimeout(None)
        writer = threading.Thread(target=self._write, name="socket", daemon=True)
        writer.start()
        try:
            with contextlib.suppress(OSError):
                self._read()
        finally:
            self._is_gone.set()
            self.close(CloseCode.ABNORMAL_CLOSURE)
            writer.join()

    def send(self, frame: bytes) -> None:
        """Queue a frame; closes the client where it has let too many wait."""
        with self._changed:
            is_full = len(self._waiting) >= MAX_WAITING_FRAMES
            if not self._is_closing and not is_full:
                self._waiting.append(frame)
                self._changed.notify()
        if is_full:
            self.close(CloseCode.TRY_AGAIN_LATER)

    def close(self, code: CloseCode) -> None:
        """Say why, then close; nothing else is sent."""
        final = b"" if code == CloseCode.ABNORMAL_CLOSURE else Close(code, "").serialize()
        self._finish(Frame(Opcode.CLOSE, final).serialize(mask=False) if final else b"", code)

    def keep_alive(self, now: float) -> None:
        """Ping in time; let go of a client that has not been heard of."""
        if now - self._heard_at > GONE_AFTER or now - self._closing_since > TAKEN_WITHIN:
            self._disconnect()
        elif now - self._pinged_at >= PING_EVERY:
            self._pinged_at = now
            self.send(PING)

    def _finish(self, final: bytes, code: int) -> None:
        with self._changed:
            if self._is_closing:
                return
            self._is_closing = True
            self._closing_since = time.monotonic()
            self.close_code = code
            self._waiting.clear()
            self._waiting.append(final)
            self._changed.notify()

    def _write(self) -> None:
        with contextlib.suppress(OSError):
            while not self._is_closing or self._waiting:
                with self._changed:
                    self._changed.wait_for(lambda: self._waiting)
                    frames = b"".join(self._waiting)
                    self._waiting.clear()
                self._connection.sendall(frames)
            self._connection.shutdown(socket.SHUT_WR)
            # The client answers a close frame by closing; one that does not is cut off.
            self._is_gone.wait(CLOSED_WITHIN)
        self._disconnect()

    def _read(self) -> None:
        while data := self._connection.recv(65536):
            self._heard_at = time.monotonic()
            self._protocol.receive_data(data)
            for event in self._protocol.events_received():
                if isinstance(event, Frame):
                    self._heard(event)
            replies = [reply for reply in self._protocol.data_to_send() if reply != SEND_EOF]
            if self._protocol.close_expected():
                code = self._protocol.close_code or CloseCode.NO_STATUS_RCVD.value
                self._finish(b"".join(replies), code)
            elif replies:
                self.send(b"".join(replies))

    def _heard(self, frame: Frame) -> None:
        if frame.opcode in {Opcode.TEXT, Opcode.BINARY}:
            self._message = bytearray(frame.opcode.to_bytes(1, "big"))
        if frame.opcode in {Opcode.TEXT, Opcode.BINARY, Opcode.CONT}:
            self._message += frame.data
            if frame.fin and self._message == bytes([Opcode.TEXT]) + b"ping":
                self.send(PONG)

    def _disconnect(self) -> None:
        with contextlib.suppress(OSError):
            self._connection.shutdown(socket.SHUT_RDWR)


def _handshake(environ: WSGIEnvironment) -> Request:
    headers = Headers()
    for name, value in environ.items():
        if name.startswith("HTTP_"):
            headers[name[5:].replace("_", "-")] = value
    return Request(environ["PATH_INFO"], headers)


def _first_offered(protocol: ServerProtocol, offered: Sequence[Subprotocol]) -> Subprotocol | None:
    """Browsers drop a socket on which none of the protocols they name is agreed."""
    return offered[0] if offered else None


def _set_interview(change: Change) -> bytes:
    message = {
        "type": "SET_INTERVIEW",
        "id": change.appointment_id,
        "interview": change.interview,
    }
    text = json.dumps(message, separators=(",", ":"), ensure_ascii=False)
    return Frame(Opcode.TEXT, text.encode()).serialize(mask=False)


def _handed_over(environ: WSGIEnvironment) -> Exception:
    """What tells the server that its connection has been used up (each has its own way)."""
    if "gunicorn.socket" in environ:
        return StopIteration()
    return ConnectionAbortedError("this was a WebSocket")
