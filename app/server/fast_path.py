"""The fast path: serves a cached response without gunicorn's parser and without WSGI.

gunicorn parses HTTP in Python, which takes several times as long as everything else
that a cached response needs. So the worker looks at a request's head first. If it is
a plain GET of a path whose cached response is fresh, this module parses it with
llhttp (Node's parser) and renders the response, byte for byte as gunicorn and the
middleware would. gunicorn serves every other request, including those that the two
parsers might read differently.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping
from email.utils import formatdate
from functools import lru_cache
from typing import NamedTuple

from gunicorn import SERVER
from httptools import HttpParserError, HttpParserUpgrade, HttpRequestParser

from app.cache.cached_response import Representation
from app.cache.middleware import Entry
from app.http import response_headers

# gunicorn's limit for a header line. No line of a shorter head exceeds it.
MAX_HEAD_BYTES = 8190
MAX_HEADERS = 100
# Headers that may change where a request ends or what it asks for.
DECLINED = frozenset(
    {
        b"content-length",
        b"content-type",
        b"expect",
        b"http2-settings",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
        b"x-forwarded-protocol",
        b"x-forwarded-ssl",
    }
)
# The bytes that both parsers accept in a head (RFC 9110, section 5.5).
ALLOWED_BYTES = b"\t\r\n" + bytes(range(0x20, 0x7F)) + bytes(range(0x80, 0x100))


class Response(NamedTuple):
    """A rendered response, and the values of its log line."""

    head: bytes
    body: bytes
    target: str
    status: int
    forwarded_for: str | None
    request_id: str


class FastPath:
    """The fast path of one worker."""

    def __init__(self, entries: Mapping[str, Entry], origins: Collection[str]) -> None:
        self._entries = {
            f"GET {path} HTTP/1.1".encode(): (path, entry) for path, entry in entries.items()
        }
        self._origins = origins
        self._parser = HttpRequestParser(self)
        self._headers: dict[bytes, bytes] = {}

    def respond(self, head: bytes, *, is_proxy_trusted: bool) -> Response | None:
        """Return the response to a request, or None to decline it.

        `head` ends with the first empty line. `is_proxy_trusted` says whether to use the
        `X-Forwarded-Proto` of the connection's peer.
        """
        known = self._entries.get(head[: head.find(b"\r\n")])
        if known is None:
            return None
        target, entry = known
        cached = entry.fresh()
        if cached is None or not self._parse(head):
            return None
        is_https = is_proxy_trusted and self._header(b"x-forwarded-proto") == "https"
        representation = cached.select(
            self._header(b"if-none-match"), self._header(b"accept-encoding")
        )
        lines = self._header_lines(
            representation, "https" if is_https else "http", self._header(b"origin")
        )
        request_id = response_headers.request_id(self._header(b"x-request-id"))
        return Response(
            b"%b%bX-Request-ID: %b\r\n\r\n"
            % (
                _first_lines(representation.status, int(time.time())),
                lines,
                request_id.encode(),
            ),
            representation.body,
            target,
            int(representation.status[:3]),
            self._header(b"x-forwarded-for"),
            request_id,
        )

    def on_header(self, name: bytes, value: bytes) -> None:
        """Store a header. The parser calls this."""
        self._headers[name.lower()] = value

    def _header(self, name: bytes) -> str | None:
        value = self._headers.get(name)
        return None if value is None else value.decode("latin-1").strip(" \t")

    def _parse(self, head: bytes) -> bool:
        """Parse the head of a request. Returns False to decline it."""
        if (
            len(head) > MAX_HEAD_BYTES
            # A header that continues on the next line.
            or b"\r\n " in head
            or b"\r\n\t" in head
            or head.translate(None, ALLOWED_BYTES)
        ):
            return False
        headers = self._headers = {}
        try:
            self._parser.feed_data(head)
            is_plain = (
                # No header is repeated: gunicorn would join the values.
                len(headers) == head.count(b"\r\n") - 2
                and len(headers) <= MAX_HEADERS
                and DECLINED.isdisjoint(headers)
                # gunicorn handles names with an underscore differently.
                and b"_" not in b"".join(headers)
                and b"host" in headers
                and (self._header(b"connection") or "keep-alive").lower() == "keep-alive"
            )
        except (HttpParserError, HttpParserUpgrade):
            is_plain = False
        if not is_plain:
            # The old parser may expect a body, or the end of the connection.
            self._parser = HttpRequestParser(self)
        return is_plain

    def _header_lines(
        self, representation: Representation, scheme: str, origin: str | None
    ) -> bytes:
        """Return the header lines that many responses share."""
        # All unknown origins share one entry.
        allowed = origin if origin in self._origins else None
        lines = representation.encoded.get((scheme, allowed))
        if lines is None:
            headers = response_headers.complete(
                representation.headers, scheme, allowed, self._origins
            )
            lines = "".join(f"{name}: {value}\r\n" for name, value in headers).encode("latin-1")
            representation.encoded[scheme, allowed] = lines
        return lines


@lru_cache(maxsize=4)
def _first_lines(status: str, second: int) -> bytes:
    """Return the status line and gunicorn's headers. `second` is the Unix time."""
    date = formatdate(second, usegmt=True)
    return (
        f"HTTP/1.1 {status}\r\nServer: {SERVER}\r\nDate: {date}\r\nConnection: keep-alive\r\n"
    ).encode("latin-1")
