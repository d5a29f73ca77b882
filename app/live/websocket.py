"""One WebSocket (RFC 6455) on the connection that gunicorn hands over.

The `websockets` library implements the protocol. The request's thread reads, and
`send_queue` writes. A client that sends as fast as it can delays no other client.
"""

from __future__ import annotations

import contextlib
import itertools
import socket
import threading
import time

from websockets.frames import Close, CloseCode, Frame, Opcode
from websockets.protocol import SEND_EOF, SERVER, Protocol

from app.live.send_queue import SendQueue

# Seconds. Heroku's router cuts a connection that is silent for 55.
PING_INTERVAL = 25.0
SILENCE_TIMEOUT = 55.0
MAX_MESSAGE_BYTES = 64 * 1024
# A client that sends more than MAX_FRAMES in MAX_FRAMES_INTERVAL seconds is closed. Real
# clients send a "ping" now and then.
MAX_FRAMES = 100
MAX_FRAMES_INTERVAL = 10
READ_BYTES = 8192
# Bytes parsed before the number of frames is checked.
PARSE_BYTES = 512
# Seconds between the first reads of data that is discarded. The intervals grow.
DISCARD_INTERVAL = 0.1

PING = Frame(Opcode.PING, b"").serialize(mask=False)
PONG_MESSAGE = Frame(Opcode.TEXT, b'"pong"').serialize(mask=False)


def text_frame(text: str) -> bytes:
    """Return the frame of a text message. It is the same for every client."""
    return Frame(Opcode.TEXT, text.encode()).serialize(mask=False)


class WebSocket:
    """An open socket.

    `turn` is a lock that all sockets of a worker share: those that send a lot take turns.
    """

    def __init__(self, connection: socket.socket, handshake: bytes, turn: threading.Lock) -> None:
        self._connection = connection
        self._turn = turn
        self._queue = SendQueue(connection, handshake)
        self._protocol = Protocol(SERVER, max_size=MAX_MESSAGE_BYTES)
        self._received_at = self._pinged_at = time.monotonic()
        self._frame_count = 0
        self._counted_since = self._received_at
        self._message = bytearray()
        self._is_text = False
        self.close_code = CloseCode.ABNORMAL_CLOSURE.value

    def run(self) -> None:
        """Serve this client until the connection ends."""
        self._connection.settimeout(None)
        self._queue.start()
        try:
            with contextlib.suppress(OSError):
                self._read()
        finally:
            self._close(b"", CloseCode.ABNORMAL_CLOSURE)
            self._queue.stop()

    def send(self, frames: bytes) -> None:
        """Queue frames; close the socket with 1013 if its client is too far behind."""
        if not self._queue.add(frames):
            self.close(CloseCode.TRY_AGAIN_LATER)

    def close(self, code: CloseCode) -> None:
        """Discard what is queued, send a close frame, and nothing after it."""
        self._close(Frame(Opcode.CLOSE, Close(code, "").serialize()).serialize(mask=False), code)

    def keep_alive(self, now: float) -> None:
        """Ping the client if a ping is due. Disconnect it if it has timed out."""
        if now - self._received_at > SILENCE_TIMEOUT or self._queue.has_timed_out(now):
            self._queue.disconnect()
        elif now - self._pinged_at >= PING_INTERVAL:
            self._pinged_at = now
            self.send(PING)

    def _close(self, last_frames: bytes, code: int) -> None:
        if self._queue.close(last_frames):
            self.close_code = code

    def _read(self) -> None:
        while data := self._connection.recv(READ_BYTES):
            self._received_at = time.monotonic()
            # A read that finds data does not wait, so other threads would not run.
            if len(data) > PARSE_BYTES:
                with self._turn:
                    time.sleep(0)
            else:
                time.sleep(0)
            for start in range(0, len(data), PARSE_BYTES):
                self._parse(data[start : start + PARSE_BYTES])
                if self._is_too_fast():
                    self.close(CloseCode.POLICY_VIOLATION)
                    self._discard()
                    return

    def _parse(self, data: bytes) -> None:
        self._protocol.receive_data(data)
        for event in self._protocol.events_received():
            self._frame_count += 1
            if isinstance(event, Frame):
                self._receive(event)
        replies = b"".join(reply for reply in self._protocol.data_to_send() if reply != SEND_EOF)
        if self._protocol.close_expected():
            close = self._protocol.close_rcvd or self._protocol.close_sent
            self._close(replies, close.code if close else CloseCode.NO_STATUS_RCVD.value)
        elif replies:
            self.send(replies)

    def _receive(self, frame: Frame) -> None:
        """Join the frames of a message, and reply to the text "ping"."""
        if frame.opcode in {Opcode.TEXT, Opcode.BINARY}:
            self._is_text = frame.opcode is Opcode.TEXT
        elif frame.opcode is not Opcode.CONT:
            return
        # No more than needed: a client may leave many messages unfinished.
        if len(self._message) <= len(b"ping"):
            self._message += frame.data[:5]
        if frame.fin:
            if self._is_text and self._message == b"ping":
                self.send(PONG_MESSAGE)
            self._message.clear()

    def _is_too_fast(self) -> bool:
        if self._received_at - self._counted_since > MAX_FRAMES_INTERVAL:
            self._frame_count, self._counted_since = 0, self._received_at
        return self._frame_count > MAX_FRAMES

    def _discard(self) -> None:
        """Read until the client closes. Closing earlier could destroy the close frame."""
        for number in itertools.count(1):
            if not self._connection.recv(65536):
                break
            time.sleep(number * DISCARD_INTERVAL)
