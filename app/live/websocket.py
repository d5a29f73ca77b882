"""One WebSocket (RFC 6455) on the connection that the WSGI server hands over.

The protocol is the `websockets` library's; this is its input and output. Whoever
has something to say only adds to the socket's queue; a thread of its own writes,
the request's thread reads. So a client that does not read delays nobody, and
costs no more than its queue: one that lets it overflow is closed.
"""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections import deque
from collections.abc import Sequence
from typing import TYPE_CHECKING

from websockets.datastructures import Headers
from websockets.frames import Close, CloseCode, Frame, Opcode
from websockets.http11 import Request, Response
from websockets.protocol import SEND_EOF, SERVER, Protocol
from websockets.server import ServerProtocol
from websockets.typing import Subprotocol

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment

# Seconds. Heroku's router cuts a connection that is silent for 55.
PING_EVERY = 25.0
GONE_AFTER = 55.0
# A client that is told why it is closed has this long to read it, and this long to answer.
TAKEN_WITHIN = 30.0
ANSWERED_WITHIN = 2.0
MAX_MESSAGE_BYTES = 64 * 1024
MAX_WAITING_BYTES = 256 * 1024

PING = Frame(Opcode.PING, b"").serialize(mask=False)
PONG = Frame(Opcode.TEXT, b'"pong"').serialize(mask=False)


def text_frame(text: str) -> bytes:
    """A text message as it goes over the wire, the same for every client."""
    return Frame(Opcode.TEXT, text.encode()).serialize(mask=False)


def is_handshake(environ: WSGIEnvironment) -> bool:
    """Whether a request wants to become a WebSocket."""
    upgrade = environ.get("HTTP_UPGRADE", "").lower()
    return bool(upgrade == "websocket" and environ["REQUEST_METHOD"] == "GET")


def answer_handshake(environ: WSGIEnvironment) -> Response:
    """What to answer to it: 101, or why not. The first subprotocol offered is agreed to."""
    headers = Headers()
    for name, value in environ.items():
        if name.startswith("HTTP_"):
            headers[name[5:].replace("_", "-")] = value
    protocol = ServerProtocol(select_subprotocol=_first_offered)
    return protocol.accept(Request(environ["PATH_INFO"], headers))


def _first_offered(protocol: ServerProtocol, offered: Sequence[Subprotocol]) -> Subprotocol | None:
    """Browsers drop a socket on which none of the protocols they name is agreed."""
    return offered[0] if offered else None


def connection_of(environ: WSGIEnvironment) -> socket.socket:
    """The socket a request came over."""
    connection: socket.socket = environ.get("gunicorn.socket") or environ["werkzeug.socket"]
    return connection


def handed_over(environ: WSGIEnvironment) -> Exception:
    """What tells the server that its connection is used up; each has its own way."""
    if "gunicorn.socket" in environ:
        return StopIteration()
    return ConnectionAbortedError("this was a WebSocket")


class WebSocket:
    """One open socket and the frames that wait to be written to it."""

    def __init__(self, connection: socket.socket, handshake: bytes) -> None:
        self._connection = connection
        self._protocol = Protocol(SERVER, max_size=MAX_MESSAGE_BYTES)
        self._handshake = handshake
        self._waiting = deque([handshake])
        self._waiting_bytes = 0
        self._changed = threading.Condition()
        self._is_closing = False
        self._closing_since = float("inf")
        self._is_gone = threading.Event()
        self._heard_at = self._pinged_at = time.monotonic()
        self._message = bytearray()
        self._is_text = False
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
            is_full = self._waiting_bytes + len(frame) > MAX_WAITING_BYTES
            if not self._is_closing and not is_full:
                self._waiting.append(frame)
                self._waiting_bytes += len(frame)
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
            unsent = [frame for frame in self._waiting if frame is self._handshake]
            self._waiting = deque([*unsent, final])
            self._changed.notify()

    def _write(self) -> None:
        with contextlib.suppress(OSError):
            while not self._is_closing or self._waiting:
                with self._changed:
                    self._changed.wait_for(lambda: self._waiting)
                    frames = b"".join(self._waiting)
                    self._waiting.clear()
                    self._waiting_bytes = 0
                self._connection.sendall(frames)
            self._connection.shutdown(socket.SHUT_WR)
            # The client answers a close frame by closing; one that does not is cut off.
            self._is_gone.wait(ANSWERED_WITHIN)
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
                close = self._protocol.close_rcvd or self._protocol.close_sent
                code = close.code if close else CloseCode.NO_STATUS_RCVD.value
                self._finish(b"".join(replies), code)
            elif replies:
                self.send(b"".join(replies))

    def _heard(self, frame: Frame) -> None:
        """Put messages together from their frames; only one is understood."""
        if frame.opcode in {Opcode.TEXT, Opcode.BINARY}:
            self._is_text = frame.opcode is Opcode.TEXT
        elif frame.opcode is not Opcode.CONT:
            return
        self._message += frame.data
        if frame.fin:
            if self._is_text and self._message == b"ping":
                self.send(PONG)
            self._message.clear()

    def _disconnect(self) -> None:
        with contextlib.suppress(OSError):
            self._connection.shutdown(socket.SHUT_RDWR)
