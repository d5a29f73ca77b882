"""A response in the forms in which it is sent: plain, gzipped, or as a 304.

Each form is made once, however often it is sent. What a view says of its answer
in one word, `Cache-Control: no-cache` (store it, but ask before each use: RFC
9111, 5.2.2.4), decides whether there is more than the plain one.
"""

from __future__ import annotations

import gzip
import hashlib
from collections.abc import Iterable
from functools import lru_cache
from typing import TYPE_CHECKING

from werkzeug.http import parse_accept_header, parse_etags

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

# A smaller body fits into one packet anyway.
COMPRESS_FROM_BYTES = 500
# Characters of Accept-Encoding: no browser's is near; longer ones cost time and memory.
LONGEST_ACCEPT_ENCODING = 500

Headers = list[tuple[str, str]]


class Response:
    """What the application answered to a GET."""

    def __init__(self, status: str, headers: Headers, body: bytes) -> None:
        self.status = status
        self.is_storable = status.startswith("200") and ("Cache-Control", "no-cache") in headers
        self._plain = (headers, body)
        self._gzipped: tuple[Headers, bytes] | None = None
        if not self.is_storable:
            return
        digest = hashlib.blake2b(body, digest_size=12).digest()
        self.fingerprint = int.from_bytes(digest[:8], "big")
        self._tag = digest.hex()
        shared = [
            *(pair for pair in headers if pair[0] != "Content-Length"),
            # Weak: the gzipped form is another sequence of bytes for the same thing.
            ("ETag", f'W/"{self._tag}"'),
            ("Vary", "Accept-Encoding"),
        ]
        self._not_modified = [pair for pair in shared if pair[0] != "Content-Type"]
        self._plain = ([*shared, ("Content-Length", str(len(body)))], body)
        if len(body) >= COMPRESS_FROM_BYTES:
            small = gzip.compress(body, mtime=0)
            length = ("Content-Length", str(len(small)))
            self._gzipped = ([*shared, ("Content-Encoding", "gzip"), length], small)

    def send(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Answer a GET or HEAD with it, in the form for which the request's headers ask."""
        headers, body = self._plain
        if self.is_storable:
            if self._matches(environ.get("HTTP_IF_NONE_MATCH")):
                start_response("304 Not Modified", list(self._not_modified))
                return []
            accepted = environ.get("HTTP_ACCEPT_ENCODING", "")
            if (
                self._gzipped
                and len(accepted) <= LONGEST_ACCEPT_ENCODING
                and _accepts_gzip(accepted)
            ):
                headers, body = self._gzipped
        start_response(self.status, list(headers))
        return [] if environ["REQUEST_METHOD"] == "HEAD" else [body]

    def _matches(self, if_none_match: str | None) -> bool:
        if if_none_match is None:
            return False
        tags = parse_etags(if_none_match)
        return tags.star_tag or tags.contains_weak(self._tag)


@lru_cache(maxsize=64)
def _accepts_gzip(accept_encoding: str) -> bool:
    return bool(parse_accept_header(accept_encoding)["gzip"] > 0)
