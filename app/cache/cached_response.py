"""A cached response and its representations: uncompressed, gzipped, or 304 without a body.

`CachedResponse.select` is the only place that decides which representation a
request gets. The WSGI middleware and the server's fast path both use it, so both
send the same bytes.
"""

from __future__ import annotations

import gzip
import hashlib
from dataclasses import dataclass, field
from functools import cached_property, lru_cache

from werkzeug.http import parse_accept_header, parse_etags

from app.http.response_headers import Headers

# A smaller body fits into one packet without compression.
GZIP_MIN_BYTES = 500
# Level 1 makes the lists as small as level 9 does, in an eighth of the time.
GZIP_LEVEL = 1
# Real clients send one entity tag and a few codings. Longer headers are ignored, because
# parsing them would cost more than the response.
MAX_HEADER_LENGTH = 500


@dataclass(slots=True)
class Representation:
    """A status, headers and a body, before the common headers are added.

    The server stores the encoded header lines in `encoded`, by URL scheme and origin.
    """

    status: str
    headers: Headers
    body: bytes
    encoded: dict[tuple[str, str | None], bytes] = field(default_factory=dict)


class CachedResponse:
    """A 200 response to a GET whose body is the same for every client."""

    def __init__(self, headers: Headers, body: bytes) -> None:
        self.body = body
        # The tag is weak, because both bodies, compressed or not, share it.
        self._etag = f'W/"{hashlib.blake2b(body, digest_size=12).hexdigest()}"'
        self._shared = [
            *(header for header in headers if header[0] != "Content-Length"),
            ("ETag", self._etag),
            ("Vary", "Accept-Encoding"),
        ]
        self._uncompressed = _representation(self._shared, body)
        self._not_modified = Representation(
            "304 Not Modified",
            [header for header in self._shared if header[0] != "Content-Type"],
            b"",
        )

    def select(self, if_none_match: str | None, accept_encoding: str | None) -> Representation:
        """Return the representation for a request's `If-None-Match` and `Accept-Encoding`."""
        if if_none_match is not None and self._matches(if_none_match):
            return self._not_modified
        if (
            len(self.body) >= GZIP_MIN_BYTES
            and accept_encoding is not None
            and len(accept_encoding) <= MAX_HEADER_LENGTH
            and _accepts_gzip(accept_encoding)
        ):
            return self._gzipped
        return self._uncompressed

    @cached_property
    def _gzipped(self) -> Representation:
        body = gzip.compress(self.body, compresslevel=GZIP_LEVEL, mtime=0)
        return _representation([*self._shared, ("Content-Encoding", "gzip")], body)

    def _matches(self, if_none_match: str) -> bool:
        """Compare weakly (RFC 9110, section 13.1.2)."""
        if if_none_match == self._etag:
            return True
        if len(if_none_match) > MAX_HEADER_LENGTH:
            return False
        etags = parse_etags(if_none_match)
        return etags.star_tag or etags.contains_weak(self._etag[3:-1])


def _representation(headers: Headers, body: bytes) -> Representation:
    return Representation("200 OK", [*headers, ("Content-Length", str(len(body)))], body)


@lru_cache(maxsize=64)
def _accepts_gzip(accept_encoding: str) -> bool:
    return bool(parse_accept_header(accept_encoding)["gzip"] > 0)
