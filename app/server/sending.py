"""Sends responses to clients that may read slowly, or not at all."""

from __future__ import annotations

import contextlib
import socket
import time
from collections.abc import Iterator
from typing import Any

import gevent

# Seconds for a client to receive a response.
SEND_TIMEOUT = 20.0
# A body up to this size is copied, to be sent together with its head. A larger one is not:
# each client that does not read would occupy memory for a copy.
COPIED_BYTES = 16 * 1024
# Maximum total size of the responses that slow clients are still receiving. A body that
# several clients share counts once. Each booking makes another version of a list, and each
# version stays in memory until all its clients have received it. Responses of gunicorn's path
# are not counted.
MAX_STALLED_BYTES = 8 * 1024 * 1024
# After an early response, at most so many bytes of the request are read, for at most so many
# seconds. Closing a connection with unread bytes could destroy the response (RFC 9112,
# section 9.6).
LINGER_BYTES = 10 * 1024 * 1024
LINGER_TIMEOUT = 2.0


def send(client: Any, head: bytes, body: bytes) -> None:
    """Send a response. Raises `OSError` if the client is gone or does not read."""
    if len(body) <= COPIED_BYTES:
        head, body = head + body, b""
    for data in (head, body):
        if data:
            _send_all(client, data)


def _send_all(client: Any, data: bytes) -> None:
    try:
        sent = client.send(data, 0, 0.0)  # gevent's timeout: do not wait
    except BlockingIOError:
        sent = 0
    if sent < len(data):
        client.settimeout(SEND_TIMEOUT)
        with aborting_if_not_read(), _stalled(client, data):
            client.sendall(memoryview(data)[sent:])
        client.settimeout(None)


# The data that is being sent to slow clients, in the order in which they began to wait.
_stalled_data: dict[Any, bytes] = {}


@contextlib.contextmanager
def _stalled(client: Any, data: bytes) -> Iterator[None]:
    """Count what a slow client occupies. If it is too much, disconnect those that wait longest."""
    _stalled_data[client] = data
    sizes = {id(each): len(each) for each in _stalled_data.values()}
    # A single body may be larger than the limit.
    while len(sizes) > 1 and sum(sizes.values()) > MAX_STALLED_BYTES:
        oldest = next(iter(_stalled_data.values()))
        del sizes[id(oldest)]
        for other in [each for each, held in _stalled_data.items() if held is oldest]:
            del _stalled_data[other]
            with contextlib.suppress(OSError):
                other.shutdown(socket.SHUT_RDWR)
    try:
        yield
    finally:
        _stalled_data.pop(client, None)


@contextlib.contextmanager
def aborting_if_not_read() -> Iterator[None]:
    """Abort the connection of a client that does not read its response.

    A `TimeoutError` would make the worker send a 408 in the middle of the response.
    """
    try:
        yield
    except TimeoutError:
        raise ConnectionAbortedError("the client does not read the response") from None


def linger(client: Any) -> None:
    """Read the rest of a request, so that the client can read the response."""
    deadline = time.monotonic() + LINGER_TIMEOUT
    read = 0
    with contextlib.suppress(OSError):
        client.shutdown(socket.SHUT_WR)
        while read < LINGER_BYTES and (remaining := deadline - time.monotonic()) > 0:
            client.settimeout(remaining)
            data = client.recv(65536)
            if not data:
                break
            read += len(data)
            gevent.sleep(0)
