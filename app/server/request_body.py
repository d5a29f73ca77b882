"""How a request's body comes in from its connection, and how its answer goes out.

Both change what gunicorn does by itself: a body has to arrive in time, and an
answer leaves in one piece. Only `app.server.worker` uses them.
"""

from __future__ import annotations

import errno
import time
from email.utils import formatdate
from functools import lru_cache
from typing import Any

import gevent
from gunicorn.http import errors as refused
from gunicorn.http import wsgi

# Seconds for a whole body to arrive.
BODY_WITHIN = 20.0
# An unwanted body is read on up to here, so that its sender comes to read the answer.
DISCARD_BYTES = 10 * 1024 * 1024
# Headers with few values. gunicorn checks them when it first sees them; checked each
# time, they take longer than all else that a stored answer needs of ours.
REPEATED = {
    "Access-Control-Allow-Origin",
    "Access-Control-Expose-Headers",
    "Cache-Control",
    "Content-Type",
    "Vary",
    "X-Content-Type-Options",
}
MOST_CHECKED = 100
_checked: set[tuple[str, str]] = set()


class Body:
    """A request's body that has to arrive in time, whatever its length says."""

    def __init__(self, body: Any) -> None:
        self._body = body
        self._deadline: float | None = None
        self._bytes = 0

    @property
    def failed(self) -> bool:
        """Whether the connection is out of step; gunicorn closes it then."""
        return bool(self._body.failed)

    def read(self, size: int | None = None) -> bytes:
        """Read as `io.RawIOBase.read`; raises `TimeoutError` or `OSError`."""
        if self._deadline is None:
            self._deadline = time.monotonic() + BODY_WITHIN
        remaining = self._deadline - time.monotonic()
        if remaining <= 0 or self._bytes > DISCARD_BYTES:
            raise TimeoutError("the body takes too long")
        try:
            with gevent.Timeout(remaining, TimeoutError("the body takes too long")):
                data: bytes = self._body.read(size)
        except refused.ParseException as error:
            # As if the client had gone: whose framing is broken cannot be understood further.
            raise ConnectionResetError(errno.ECONNRESET, str(error)) from None
        self._bytes += len(data)
        return data


class Response(wsgi.Response):  # type: ignore[misc]
    """gunicorn's response, except that its head waits for the first bytes of its body.

    One system call and one packet for an answer, instead of two.
    """

    headers_sent: bool
    _unsent_head = b""

    def default_headers(self) -> list[str]:
        """The lines that every head begins with."""
        major, minor = self.req.version
        lines = [
            f"HTTP/{major}.{minor} {self.status}\r\n",
            f"Server: {self.version}\r\n",
            _date(int(time.time())),
            "Connection: close\r\n" if self.should_close() else "Connection: keep-alive\r\n",
        ]
        if self.chunked:
            lines.append("Transfer-Encoding: chunked\r\n")
        return lines

    def process_headers(self, headers: list[tuple[str, str]]) -> None:
        """Take the application's headers; raises what gunicorn raises for a malformed one."""
        for header in headers:
            if header in _checked:
                self.headers.append(header)
            else:
                super().process_headers([header])
                # As it is sent: gunicorn takes spaces off at the ends.
                if header[0] in REPEATED and len(_checked) < MOST_CHECKED:
                    _checked.update(self.headers[-1:])

    def send_headers(self) -> None:
        """Have the head ready; it leaves with what is written next."""
        if not self.headers_sent:
            lines = self.default_headers()
            lines += [f"{name}: {value}\r\n" for name, value in self.headers]
            self._unsent_head = ("".join(lines) + "\r\n").encode("latin-1")
            self.headers_sent = True

    def can_sendfile(self) -> bool:
        """Write files like any other body: `sendfile` would overtake the head."""
        return False

    def close(self) -> None:
        """End the answer."""
        self.send_headers()
        self._send(b"0\r\n\r\n" if self.chunked else b"")

    def _emit_body(self, data: bytes) -> None:
        self._send(b"%X\r\n%b\r\n" % (len(data), data) if self.chunked else data)

    def _send(self, data: bytes) -> None:
        data = self._unsent_head + data
        self._unsent_head = b""
        if data:
            self.sock.sendall(data)


@lru_cache(maxsize=1)
def _date(second: int) -> str:
    return f"Date: {formatdate(second, usegmt=True)}\r\n"
