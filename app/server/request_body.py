"""A request's body, with limits on its size and on the time to receive it.

gevent switches to another request only when the current one waits, and a read does not wait
if data is available. So every read from the connection first lets other requests run.
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

from app.server.sending import SEND_TIMEOUT

# Seconds for a body to arrive.
BODY_TIMEOUT = 20.0
# Maximum bytes of a body on the wire, including chunk sizes.
MAX_BODY_BYTES = 256 * 1024
READ_BYTES = 4096
# Seconds to receive the rest of a body that the application did not read, so that the
# connection can serve another request.
DRAIN_TIMEOUT = 1.0


class RequestReader(SocketUnreader):  # type: ignore[misc]
    """Supplies gunicorn with the bytes received so far, then with those of the connection."""

    def __init__(self, connection: Any, received: bytes) -> None:
        super().__init__(connection)
        self.unread(received)
        self.deadline = time.monotonic() + BODY_TIMEOUT
        # Called before each read, to let other requests run.
        self.take_turn: Callable[[], None] = partial(gevent.sleep, 0)
        self._bytes = 0

    def chunk(self, size_hint: int | None = None) -> bytes:
        """Return the next bytes. Raises `TimeoutError` or `OSError`."""
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
        """Return at most `size` bytes, or all. Raises `TimeoutError` or `OSError`."""
        try:
            data: bytes = self._body.read(size)
        except errors.ParseException as error:
            # The start of the next request is unknown, so the connection must be closed.
            raise ConnectionResetError(errno.ECONNRESET, str(error)) from None
        return data

    def drain(self) -> bool:
        """Read the rest of the body. Returns False if the connection must be closed."""
        if self._body.failed:
            return False
        self._reader.deadline = min(self._reader.deadline, time.monotonic() + DRAIN_TIMEOUT)
        try:
            while self.read(READ_BYTES):
                pass
        except OSError:
            return False
        return True
