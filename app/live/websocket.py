"""One WebSocket (RFC 6455) on the connection that gunicorn hands over.

The protocol is the `websockets` library's; this module does its input and output.
Senders only add to the socket's queue. A thread of its own writes, the request's
thread reads. So a client that does not read delays nobody and costs bounded
memory, and neither does one that sends as fast as it can.
"""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections import deque

from websockets.frames import Close, CloseCode, Frame, Opcode
from websockets.protocol import SEND_EOF, SERVER, Protocol

# Seconds. Heroku's router cuts a connection that is silent for 55.
PING_INTERVAL = 25.0
SILENCE_TIMEOUT = 55.0
# Seconds for a client to read why it is closed, and then to close its side.
CLOSE_READ_TIMEOUT = 30.0
CLOSE_TIMEOUT = 2.0
MAX_MESSAGE_BYTES = 64 * 1024
MAX_QUEUE_BYTES = 256 * 1024
# Real clients send a "ping" now and then.
MAX_FRAMES_PER_SECOND = 100
# Other threads run after each read, so a read must not take long to parse.
READ_BYTES = 512
WRITE_BYTES = 16 * 1024
# Seconds between two reads from a client whose frames no longer count.
DISCARD_INTERVAL = 0.1

PING = Frame(Opcode.PING, b"").serialize(mask=False)
PONG = Frame(Opcode.TEXT, b'"pong"').serialize(mask=False)


def text_frame(text: str) -> bytes:
    """Serialize a text message, which is the same for every client."""
    return Frame(Opcode.TEXT, text.encode()).serialize(mask=False)


class WebSocket:
    """An open socket and the frames that wait to be written to it."""

    def __init__(self, connection: socket.socket, handshake: bytes, greedy: threading.Lock) -> None:
        self._connection = connection
        self._greedy = greedy
        self._protocol = Protocol(SERVER, max_size=MAX_MESSAGE_BYTES)
        self._handshake = handshake
        self._queue = deque([handshake])
        self._queue_bytes = 0
        self._queue_changed = threading.Condition()
        self._is_closing = False
        self._closing_since = float("inf")
        self._has_ended = threading.Event()
        self._received_at = self._pinged_at = time.monotonic()
        self._frames_in_second = 0
        self._second = 0
        self._message = bytearray()
        self._is_text = False
        self.close_code = CloseCode.ABNORMAL_CLOSURE.value

    def run(self) -> None:
        """Serve this client until the connection ends."""
        self._connection.settimeout(None)
        writer = threading.Thread(target=self._write, name="socket", daemon=True)
        writer.start()
        try:
            with contextlib.suppress(OSError):
                self._read()
        finally:
            self._has_ended.set()
            self.close(CloseCode.ABNORMAL_CLOSURE)
            writer.join()

    def send(self, frames: bytes) -> None:
        """Queue frames; close the socket with 1013 if its client is too far behind."""
        with self._queue_changed:
            is_full = self._queue_bytes + len(frames) > MAX_QUEUE_BYTES
            if not self._is_closing and not is_full:
                self._queue.append(frames)
                self._queue_bytes += len(frames)
                self._queue_changed.notify()
        if is_full:
            self.close(CloseCode.TRY_AGAIN_LATER)

    def close(self, code: CloseCode) -> None:
        """Send a close frame and nothing after it; 1006 ends the connection without one."""
        payload = b"" if code == CloseCode.ABNORMAL_CLOSURE else Close(code, "").serialize()
        self._finish(Frame(Opcode.CLOSE, payload).serialize(mask=False) if payload else b"", code)

    def keep_alive(self, now: float) -> None:
        """Ping the client when it is time; disconnect one that has timed out."""
        if (
            now - self._received_at > SILENCE_TIMEOUT
            or now - self._closing_since > CLOSE_READ_TIMEOUT
        ):
            self._disconnect()
        elif now - self._pinged_at >= PING_INTERVAL:
            self._pinged_at = now
            self.send(PING)

    def _finish(self, last_frame: bytes, code: int) -> None:
        with self._queue_changed:
            if self._is_closing:
                return
            self._is_closing = True
            self._closing_since = time.monotonic()
            self.close_code = code
            unsent = [frames for frames in self._queue if frames is self._handshake]
            self._queue = deque([*unsent, last_frame])
            self._queue_changed.notify()

    def _write(self) -> None:
        with contextlib.suppress(OSError):
            while not self._is_closing or self._queue:
                self._connection.sendall(self._take_frames())
            self._connection.shutdown(socket.SHUT_WR)
            # The client responds to a close frame by closing its side.
            self._has_ended.wait(CLOSE_TIMEOUT)
        self._disconnect()

    def _take_frames(self) -> bytes:
        """Wait for frames and take some: those in the queue are shared, what is sent is a copy."""
        frames = bytearray()
        with self._queue_changed:
            self._queue_changed.wait_for(lambda: self._queue)
            while self._queue and len(frames) < WRITE_BYTES:
                frames += self._queue.popleft()
            self._queue_bytes = sum(map(len, self._queue))
        return bytes(frames)

    def _read(self) -> None:
        while data := self._connection.recv(READ_BYTES):
            self._received_at = time.monotonic()
            self._let_others_go_first(is_greedy=len(data) == READ_BYTES)
            self._protocol.receive_data(data)
            events = self._protocol.events_received()
            if self._is_too_fast(len(events)):
                self.close(CloseCode.POLICY_VIOLATION)
                self._discard()
                return
            for event in events:
                if isinstance(event, Frame):
                    self._receive(event)
            replies = [reply for reply in self._protocol.data_to_send() if reply != SEND_EOF]
            if self._protocol.close_expected():
                close = self._protocol.close_rcvd or self._protocol.close_sent
                code = close.code if close else CloseCode.NO_STATUS_RCVD.value
                self._finish(b"".join(replies), code)
            elif replies:
                self.send(b"".join(replies))

    def _discard(self) -> None:
        """Read until the end: ending a connection with unread bytes takes the close frame back."""
        while self._connection.recv(65536):
            time.sleep(DISCARD_INTERVAL)

    def _let_others_go_first(self, *, is_greedy: bool) -> None:
        """Let other threads run: a read does not wait while data is there."""
        if is_greedy:
            with self._greedy:
                time.sleep(0)
        else:
            time.sleep(0)

    def _is_too_fast(self, frames: int) -> bool:
        second = int(self._received_at)
        if second != self._second:
            self._second, self._frames_in_second = second, 0
        self._frames_in_second += frames
        return self._frames_in_second > MAX_FRAMES_PER_SECOND

    def _receive(self, frame: Frame) -> None:
        """Join the frames of a message; the only one with a meaning is the text "ping"."""
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
