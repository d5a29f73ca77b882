"""Many WebSockets in one thread, which measures when a message has reached all of them.

It implements only what is needed of RFC 6455, the handshake and the PONG, and takes
a few microseconds a socket, so that the server's time is measured and not its own.
"""

from __future__ import annotations

import selectors
import socket
import threading
import time
from contextlib import closing
from urllib.parse import urlsplit

from bench.load import book
from bench.servers import Server

HANDSHAKE = (
    b"GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)
# An empty PING as a server sends it; an empty PONG as a client sends it, masked with zeros.
PING = b"\x89\x00"
PONG = b"\x8a\x80\x00\x00\x00\x00"
TIMEOUT = 10.0


class Audience:
    """The sockets; a context manager that reads what arrives, and closes them at the end."""

    def __enter__(self) -> Audience:
        self._sockets: list[socket.socket] = []
        self._selector = selectors.DefaultSelector()
        self._student = b"nobody"
        self._waiting: set[socket.socket] = set()
        self._received_at = 0.0
        self._all_received = threading.Event()
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._read)
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._closed.set()
        self._thread.join()
        for one in self._sockets:
            one.close()

    def join(self, server: Server, count: int) -> None:
        """Open more sockets; raises `ConnectionError` if one is refused."""
        parts = urlsplit(server.url)
        for _ in range(count):
            one = socket.create_connection((parts.hostname or "", parts.port or 80), TIMEOUT)
            one.sendall(HANDSHAKE)
            if not (response := one.recv(4096)).startswith(b"HTTP/1.1 101"):
                raise ConnectionError(f"no WebSocket: {response[:100]!r}")
            self._sockets.append(one)
            self._selector.register(one, selectors.EVENT_READ)

    def time_broadcast(self, server: Server, student: str) -> float:
        """Book an appointment; return the seconds from its response until all sockets have it.

        Negative if that was before the response. Raises `TimeoutError`.
        """
        self._all_received.clear()
        self._student, self._waiting = student.encode(), set(self._sockets)
        with closing(server.connect()) as connection:
            book(connection, 1, student)
            responded_at = time.perf_counter()
        if not self._all_received.wait(TIMEOUT):
            raise TimeoutError(f"{len(self._waiting)} sockets received nothing")
        return self._received_at - responded_at

    def _read(self) -> None:
        while not self._closed.is_set():
            for key, _ in self._selector.select(0.1):
                one = key.fileobj
                assert isinstance(one, socket.socket)
                data = one.recv(65536)
                if not data:
                    self._selector.unregister(one)  # the next broadcast fails
                elif PING in data:
                    one.sendall(PONG)
                if self._student in data and one in self._waiting:
                    self._received_at = time.perf_counter()
                    self._waiting.discard(one)
                    if not self._waiting:
                        self._all_received.set()
