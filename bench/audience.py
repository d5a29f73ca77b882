"""Many WebSockets held open by one thread, which notices when a message has reached all.

It implements only what is needed of RFC 6455, the handshake and the PONG, and takes
a few microseconds a socket, so that the server's time is measured and not its own.
"""

from __future__ import annotations

import selectors
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

from bench.servers import Server

HANDSHAKE = (
    b"GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)
BOOKING = (
    "PUT /api/appointments/1 HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    'Content-Length: {}\r\n\r\n{{"interview":{{"student":"{}","interviewer":1}}}}'
)
# An empty PING as a server sends it; an empty PONG as a client sends it, masked with zeros.
PING = b"\x89\x00"
PONG = b"\x8a\x80\x00\x00\x00\x00"
TIMEOUT = 10.0


class Audience:
    """The sockets; a context manager that closes them."""

    def __init__(self) -> None:
        self._selector = selectors.DefaultSelector()
        self._sockets: set[socket.socket] = set()

    def __enter__(self) -> Audience:
        return self

    def __exit__(self, *exception: object) -> None:
        for one in self._sockets:
            one.close()
        self._selector.close()

    def __len__(self) -> int:
        return len(self._sockets)

    def join(self, server: Server, count: int) -> None:
        """Open more sockets; raises `ConnectionError` if one is refused."""
        for _ in range(count):
            one = _connect(server)
            one.sendall(HANDSHAKE)
            if not (response := one.recv(4096)).startswith(b"HTTP/1.1 101"):
                raise ConnectionError(f"no WebSocket: {response[:100]!r}")
            self._sockets.add(one)
            self._selector.register(one, selectors.EVENT_READ)

    def time_broadcast(self, server: Server, student: str) -> float:
        """Book an appointment; the seconds from the response until every socket has the frame.

        Negative if that was before the response.
        """
        responded_at = received_at = 0.0
        waiting = set(self._sockets)
        deadline = time.perf_counter() + TIMEOUT
        with _connect(server) as writer:
            self._selector.register(writer, selectors.EVENT_READ)
            # The body is 44 bytes longer than the name.
            writer.sendall(BOOKING.format(len(student) + 44, student).encode())
            while waiting or not responded_at:
                if time.perf_counter() > deadline:
                    raise TimeoutError(f"{len(waiting)} sockets received nothing")
                for one, data in self._receive():
                    if one is writer:
                        assert data.startswith(b"HTTP/1.1 204"), data
                        responded_at = time.perf_counter()
                    elif student.encode() in data:
                        waiting.discard(one)
                        received_at = time.perf_counter()
            self._selector.unregister(writer)
        return received_at - responded_at

    @contextmanager
    def reading(self) -> Iterator[None]:
        """Read everything that arrives, in the background."""
        stopped = threading.Event()

        def read() -> None:
            while not stopped.is_set():
                list(self._receive())

        thread = threading.Thread(target=read)
        thread.start()
        try:
            yield
        finally:
            stopped.set()
            thread.join()

    def _receive(self) -> Iterator[tuple[socket.socket, bytes]]:
        for key, _ in self._selector.select(0.1):
            one = key.fileobj
            assert isinstance(one, socket.socket)
            data = one.recv(65536)
            if not data and one in self._sockets:
                raise ConnectionError("the server closed a socket")
            if PING in data:
                one.sendall(PONG)
            yield one, data


def _connect(server: Server) -> socket.socket:
    parts = urlsplit(server.url)
    return socket.create_connection((parts.hostname or "", parts.port or 80), TIMEOUT)
