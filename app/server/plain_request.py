"""Parses plain requests with llhttp, Node's parser.

gunicorn parses HTTP in Python, which takes ten times as long. A request is plain if it
has arrived completely and if the two parsers cannot read it differently. This parser
declines every other request, and gunicorn parses or refuses it.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import NamedTuple
from urllib.parse import unquote_to_bytes

from httptools import HttpParserError, HttpParserUpgrade, HttpRequestParser

from app.server.request_head import END

# Within gunicorn's default limits: a request line of 4,094 bytes, a header line of 8,190, 100
# headers. So gunicorn would accept the same requests.
MAX_REQUEST_LINE = 2048
MAX_HEAD_BYTES = 8190
MAX_HEADERS = 100
# Headers that affect a request's length, protocol or URL scheme, and that only gunicorn handles.
DECLINED_HEADERS = frozenset(
    b"expect http2-settings te trailer transfer-encoding upgrade x-forwarded-protocol"
    b" x-forwarded-ssl".split()
)
# The bytes that both parsers accept in a head (RFC 9110, section 5.5).
ALLOWED_BYTES = b"\t\r\n" + bytes(range(0x20, 0x7F)) + bytes(range(0x80, 0x100))

# A path and a query of printable ASCII, without a fragment.
_request_line = re.compile(
    rb"(GET|PUT|DELETE) ((/(?!/)[!-\"$->@-~]*)(?:\?([!-\"$-~]*))?) HTTP/1\.1"
).fullmatch


class PlainRequest(NamedTuple):
    """A parsed plain request.

    `target` is the path with the query, as it was sent. The headers' names are in lower
    case. `end` is the length of the whole request in bytes.
    """

    method: str
    target: str
    path: str
    query: str
    headers: dict[bytes, bytes]
    body: bytes
    end: int

    def header(self, name: bytes) -> str | None:
        """Return the value of a header, or None."""
        value = self.headers.get(name)
        return None if value is None else value.decode("latin-1").strip(" \t")


class PlainRequestParser:
    """A parser of plain requests; one instance per worker."""

    def __init__(self) -> None:
        self._parser = HttpRequestParser(self)
        self._headers: dict[bytes, bytes] = {}

    def parse(self, received: bytes) -> PlainRequest | None:
        """Parse the first request in `received`, or return None to decline it.

        `received` contains the whole head. A malformed one, without an empty line at its
        end, is declined.
        """
        line_end = received.find(b"\r\n")
        if not 0 < line_end <= MAX_REQUEST_LINE:
            return None
        line = _parse_request_line(received[:line_end])
        if line is None:
            return None
        head_end = received.find(END)
        body_start = head_end + len(END)
        head = received[:body_start]
        if (
            head_end < 0
            or len(head) > MAX_HEAD_BYTES
            # A header that continues on the next line.
            or b"\r\n " in head
            or b"\r\n\t" in head
            or head.translate(None, ALLOWED_BYTES)
        ):
            return None
        headers = self._headers = {}
        try:
            self._parser.feed_data(head)
            if _is_plain(head, headers):
                end = body_start + int(headers.get(b"content-length", 0))
                body = received[body_start:end]
                if end <= len(received):
                    if body:
                        self._parser.feed_data(body)
                    return PlainRequest(*line, headers, body, end)
        except (HttpParserError, HttpParserUpgrade, ValueError):
            pass  # ValueError: `int` refuses a Content-Length of more than 4,300 digits
        # The old parser may expect a body, or the end of the connection.
        self._parser = HttpRequestParser(self)
        return None

    def on_header(self, name: bytes, value: bytes) -> None:
        """Store a header. llhttp calls this."""
        self._headers[name.lower()] = value


@lru_cache(maxsize=256)
def _parse_request_line(line: bytes) -> tuple[str, str, str, str] | None:
    """Return the method, target, path and query, or None to decline the request."""
    match = _request_line(line)
    if match is None:
        return None
    method, target, path, query = (part.decode() for part in match.groups(b""))
    return method, target, unquote_to_bytes(path).decode("latin-1"), query


def _is_plain(head: bytes, headers: dict[bytes, bytes]) -> bool:
    return (
        # No header is repeated: gunicorn would join the values.
        len(headers) == head.count(b"\r\n") - 2
        and len(headers) <= MAX_HEADERS
        and DECLINED_HEADERS.isdisjoint(headers)
        # gunicorn handles names with an underscore differently.
        and b"_" not in b"".join(headers)
        and b"host" in headers
        and headers.get(b"connection", b"keep-alive").strip(b" \t").lower() == b"keep-alive"
    )
