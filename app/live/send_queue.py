"""The frames that wait to be written to a WebSocket, and the thread that writes them.

Senders add to a bounded queue and never wait. A client that stops reading delays no
other client, and uses bounded memory.
"""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections import deque

# Seconds for a client to read the close frame, and then to close its side.
CLOSE_READ_TIMEOUT = 30.0
CLOSE_TIMEOUT = 2.0
MAX_QUEUE_BYTES = 256 * 1024
WRITE_BYTES = 16 * 1024


class SendQueue:
    """The queue of one connection. The handshake's response is the first to be written."""

    def __init__(self, connection: socket.socket, handshake: bytes) -> None:
        self._connection = connection
        self._handshake = handshake
        self._frames = deque([handshake])
        self._bytes = 0
        self._changed = threading.Condition(threading.Lock())
        self._closing_since: float | None = None
        self._reading_has_ended = threading.Event()
        self._writer = threading.Thread(target=self._write, name="websocket writer", daemon=True)

    def start(self) -> None:
        """Start to write."""
        self._writer.start()

    def stop(self) -> None:
        """Wait until the writer has ended. Call this after `close`, when reading has ended."""
        self._reading_has_ended.set()
        self._writer.join()

    def add(self, frames: bytes) -> bool:
        """Add frames. Returns False if the client is too far behind."""
        with self._changed:
            if self._closing_since is not None:
                return True
            if self._bytes + len(frames) > MAX_QUEUE_BYTES:
                return False
            self._frames.append(frames)
            self._bytes += len(frames)
            self._changed.notify()
        return True

    def close(self, last_frames: bytes) -> bool:
        """Discard the queued frames, write these, and accept no more.

        Returns False if the queue was closed before.
        """
        with self._changed:
            if self._closing_since is not None:
                return False
            self._closing_since = time.monotonic()
            is_handshake_queued = self._handshake in self._frames
            self._frames = deque([self._handshake] * is_handshake_queued + [last_frames])
            self._changed.notify()
        return True

    def has_timed_out(self, now: float) -> bool:
        """Return whether the client has not read the close frame in time."""
        since = self._closing_since
        return since is not None and now - since > CLOSE_READ_TIMEOUT

    def disconnect(self) -> None:
        """End the connection immediately."""
        with contextlib.suppress(OSError):
            self._connection.shutdown(socket.SHUT_RDWR)

    def _write(self) -> None:
        with contextlib.suppress(OSError):
            while self._closing_since is None or self._frames:
                self._connection.sendall(self._take())
            self._connection.shutdown(socket.SHUT_WR)
            # The client responds to a close frame by closing its side.
            self._reading_has_ended.wait(CLOSE_TIMEOUT)
        self.disconnect()

    def _take(self) -> bytearray:
        """Wait for frames. Remove and join them, until there are WRITE_BYTES or no more.

        Only the joined bytes are a copy for this client. All sockets share the queued frames.
        """
        frames = bytearray()
        with self._changed:
            self._changed.wait_for(lambda: self._frames)
            while self._frames and len(frames) < WRITE_BYTES:
                frames += self._frames.popleft()
            self._bytes = sum(map(len, self._frames))
        return frames
