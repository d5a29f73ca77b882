"""Many WebSockets held open by one thread, which notices when a message has reached all.

Only what is needed of RFC 6455: the handshake, and the answer to a PING. It costs
a few microseconds a socket, so that what is timed is the server.
"""

from __future__ import annotations

import base64
import os
import selectors
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

# An empty PING as a server sends it, an empty PONG as a client does: masked, with zeros.
PING = b"\x89\x00"
PONG = b"\x8a\x80\x00\x00\x00\x00"


class Audience:
    """The sockets."""

    def __init__(self) -> None:
        self._selector = selectors.DefaultSelector()
        self._sockets: set[socket.socket] = set()

    def __len__(self) -> int:
        return len(self._sockets)

    def join(self, url: str, count: int) -> None:
        """Open more sockets; raises `ConnectionError` where one is refused."""
        for _ in range(count):
            one = _connect(url)
            one.sendall(_handshake(url))
            answer = b""
            while b"\r\n\r\n" not in answer:
                received = one.recv(4096)
                if not received:
                    break
                answer += received
            if not answer.startswith(b"HTTP/1.1 101"):
                one.close()
                raise ConnectionError(f"no WebSocket: {answer[:100]!r}")
            one.setblocking(False)
            self._sockets.add(one)
            self._selector.register(one, selectors.EVENT_READ)

    def time_until_told(self, url: str, request: bytes, token: bytes, within: float) -> float:
        """Send a write that puts a token into everybody's next frame.

        Gives the seconds from its 204 until the last client has the frame: below
        zero where that was before. Raises `TimeoutError` where somebody has not.
        """
        answered_at = told_at = 0.0
        unaware = set(self._sockets)
        deadline = time.perf_counter() + within
        with _connect(url) as writer:
            self._selector.register(writer, selectors.EVENT_READ)
            writer.sendall(request)
            while unaware or not answered_at:
                if time.perf_counter() > deadline:
                    raise TimeoutError(f"{len(unaware)} clients were not told in {within} s")
                for one, data in self._received(0.1):
                    if one is writer:
                        answered_at = time.perf_counter()
                        if not data.startswith(b"HTTP/1.1 204"):
                            raise ConnectionError(f"the write was answered with {data[:100]!r}")
                    elif token in data:
                        unaware.discard(one)
                        told_at = time.perf_counter()
            self._selector.unregister(writer)
        return told_at - answered_at

    @contextmanager
    def kept_alive(self) -> Iterator[None]:
        """Answer the server's PINGs in the background."""
        is_over = threading.Event()

        def answer() -> None:
            while not is_over.is_set():
                for _ in self._received(0.2):
                    pass

        thread = threading.Thread(target=answer, name="audience", daemon=True)
        thread.start()
        try:
            yield
        finally:
            is_over.set()
            thread.join()

    def close(self) -> None:
        """Leave."""
        for one in self._sockets:
            self._selector.unregister(one)
            one.close()
        self._sockets.clear()

    def _received(self, seconds: float) -> Iterator[tuple[socket.socket, bytes]]:
        for key, _ in self._selector.select(seconds):
            one = key.fileobj
            assert isinstance(one, socket.socket)
            data = one.recv(65536)
            if not data and one in self._sockets:
                raise ConnectionError("the server closed a socket")
            if PING in data:
                one.sendall(PONG)
            yield one, data


def _connect(url: str) -> socket.socket:
    parts = urlsplit(url)
    one = socket.create_connection((parts.hostname or "127.0.0.1", parts.port or 80), 30)
    one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return one


def _handshake(url: str) -> bytes:
    lines = [
        "GET / HTTP/1.1",
        f"Host: {urlsplit(url).netloc}",
        "Upgrade: websocket",
        "Connection: Upgrade",
        "Sec-WebSocket-Version: 13",
        f"Sec-WebSocket-Key: {base64.b64encode(os.urandom(16)).decode()}",
    ]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()
