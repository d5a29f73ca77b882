"""A request's body as gunicorn reads it, with limits on time, bytes and patience.

gevent switches to another request only where one waits, and a read does not wait
while data is there. So every read from the connection lets the others go first, and
counts against the limits.
"""

from __future__ import annotations

import errno
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import gevent
from gunicorn.http import errors
from gunicorn.http.unreader import SocketUnreader

# Seconds for a whole body to arrive, and for a client to take in a response.
BODY_TIMEOUT = 20.0
SEND_TIMEOUT = 20.0
# A body that declares more is not read.
MAX_CONTENT_LENGTH = 100 * 1024
# What a body may take on the wire, with its chunk sizes.
MAX_BODY_BYTES = 256 * 1024
READ_BYTES = 4096
# The rest of a body that the application did not read is awaited this long, so that
# the connection can serve another request.
DRAIN_TIMEOUT = 1.0


class RequestReader(SocketUnreader):  # type: ignore[misc]
    """What gunicorn reads a request from: the bytes received so far, then the connection."""

    def __init__(self, connection: Any, received: bytes) -> None:
        super().__init__(connection)
        self.unread(received)
        self.deadline = time.monotonic() + BODY_TIMEOUT
        # Called before each read, to let other requests run.
        self.take_turn: Callable[[], None] = partial(gevent.sleep, 0)
        self._bytes = 0

    def chunk(self, size_hint: int | None = None) -> bytes:
        """Receive the next bytes; raises `TimeoutError` or `OSError`."""
        self.take_turn()
        remaining = self.deadline - time.monotonic()
        if remaining <= 0:
            raise TimeoutError("the body did not arrive in time")
        if self._bytes >= MAX_BODY_BYTES:
            raise OSError(errno.EMSGSIZE, "the body is too large")
        self.sock.settimeout(remaining)
        try:
            data: bytes = self.sock.recv(READ_BYTES)
        finally:
            self.sock.settimeout(SEND_TIMEOUT)
        self._bytes += len(data)
        return data


class RequestBody:
    """The `wsgi.input` of a request."""

    def __init__(self, body: Any, reader: RequestReader) -> None:
        self._body = body
        self._reader = reader

    def read(self, size: int | None = None) -> bytes:
        """Read as `io.RawIOBase.read`; raises `TimeoutError` or `OSError`."""
        try:
            data: bytes = self._body.read(size)
        except errors.ParseException as error:
            # Where the next request starts is unknown: the same as a lost connection.
            raise ConnectionResetError(errno.ECONNRESET, str(error)) from None
        return data

    def drain(self) -> bool:
        """Read what the application did not; False if the connection must be closed instead."""
        if self._body.failed:
            return False
        self._reader.deadline = min(self._reader.deadline, time.monotonic() + DRAIN_TIMEOUT)
        try:
            while self.read(READ_BYTES):
                pass
        except OSError:
            return False
        return True
