"""Answers the GETs from stored responses while nothing has changed.

Knows HTTP, not this API: what may be stored is said by the view in one word,
`Cache-Control: no-cache` (store, but ask before each use: RFC 9111, 5.2.2.4).
Also does what goes with it: `ETag` and 304, gzip, HEAD.

Promises: on one machine, a read sees every write that was answered before the
read began, whichever process answered. Between machines it sees it as soon as
PostgreSQL's notification arrives, about a millisecond; while the change feed is
down, nothing stored is used. One query a change and process, however many wait
for it. Memory holds one response for each path that can be stored.
"""

from __future__ import annotations

import gzip
import hashlib
import threading
from collections.abc import Iterable
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from flask import Flask
from werkzeug.http import parse_accept_header, parse_etags

from app import db, generation
from app.changes import Change, Feed
from app.errors import problem

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

Generation = tuple[bytes, int]
NEVER: Generation = (b"", -1)

SAFE_METHODS = {"GET", "HEAD", "OPTIONS"}
# Smaller bodies fit into one packet anyway.
COMPRESS_FROM_BYTES = 500
# Seconds to wait for a query that another request has begun.
SHARED_WITHIN = 5.0


def init_app(app: Flask) -> None:
    """Wrap the application."""
    cache = Cache(app.wsgi_app, app.extensions["changes"])
    app.extensions["changes"].subscribe(cache)
    app.wsgi_app = cache  # type: ignore[method-assign]


class Response:
    """A response as the application gave it, and in the forms that it is sent in."""

    def __init__(self, status: str, headers: list[tuple[str, str]], body: bytes) -> None:
        self.status = status
        self._is_storable = status.startswith("200") and ("Cache-Control", "no-cache") in headers
        if not self._is_storable:
            self._plain = (headers, body)
            return
        # Weak: the compressed form is another representation of the same thing.
        self._tag = hashlib.blake2b(body, digest_size=12).hexdigest()
        shared = [
            *(pair for pair in headers if pair[0] != "Content-Length"),
            ("ETag", f'W/"{self._tag}"'),
            ("Vary", "Accept-Encoding"),
        ]
        self._not_modified = [pair for pair in shared if pair[0] != "Content-Type"]
        self._plain = ([*shared, ("Content-Length", str(len(body)))], body)
        self._gzipped: tuple[list[tuple[str, str]], bytes] | None = None
        if len(body) >= COMPRESS_FROM_BYTES:
            small = gzip.compress(body, mtime=0)
            length = ("Content-Length", str(len(small)))
            self._gzipped = ([*shared, ("Content-Encoding", "gzip"), length], small)

    @property
    def is_storable(self) -> bool:
        """Whether the view allows to store it."""
        return self._is_storable

    def send(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Answer a GET or HEAD with it, as the request's headers ask."""
        headers, body = self._plain
        if self._is_storable:
            if self._matches(environ.get("HTTP_IF_NONE_MATCH")):
                start_response("304 Not Modified", list(self._not_modified))
                return []
            if self._gzipped and _accepts_gzip(environ.get("HTTP_ACCEPT_ENCODING", "")):
                headers, body = self._gzipped
        start_response(self.status, list(headers))
        return [] if environ["REQUEST_METHOD"] == "HEAD" else [body]

    def _matches(self, if_none_match: str | None) -> bool:
        if if_none_match is None:
            return False
        tags = parse_etags(if_none_match)
        return tags.star_tag or tags.contains_weak(self._tag)


class Query:
    """A request to the application that others wait for too."""

    def __init__(self, begun_in: Generation) -> None:
        self.begun_in = begun_in
        self.done = threading.Event()
        self.response: Response | None = None


class Cache:
    """The middleware and what it has stored."""

    def __init__(self, wsgi_app: WSGIApplication, feed: Feed) -> None:
        self.wsgi_app = wsgi_app
        self._feed = feed
        self._lock = threading.Lock()
        # For each path that can be stored, the last query: its answer serves
        # as long as the generation is the one in which it was begun.
        self._queries: dict[str, Query] = {}
        self._heard = 0

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Answer a request (PEP 3333)."""
        self._feed.start()
        if environ["REQUEST_METHOD"] not in {"GET", "HEAD"}:
            try:
                return self.wsgi_app(environ, start_response)
            finally:
                # Also after a failure: what became of the write may be unknown.
                if environ["REQUEST_METHOD"] not in SAFE_METHODS:
                    generation.advance()
        path = environ["PATH_INFO"].removesuffix("/")
        if environ.get("QUERY_STRING") or not self._feed.is_reliable:
            return self._ask(environ).send(environ, start_response)
        begun_in = self._generation()
        query = self._queries.get(path)
        if query is None:
            response = self._ask(environ)
            if response.is_storable:
                query = Query(begun_in)
                query.response = response
                query.done.set()
                self._queries[path] = query
            return response.send(environ, start_response)
        if query.begun_in != begun_in:
            query = self._renew(path, begun_in, environ)
        if not query.done.is_set():
            query.done.wait(SHARED_WITHIN)
        answer = query.response or problem(503, "The database is slow at the moment.")
        if isinstance(answer, Response):
            return answer.send(environ, start_response)
        return answer(environ, start_response)

    def changed(self, change: Change | None) -> None:
        """Forget what is stored: somebody changed something."""
        self._heard += 1

    def resumed(self, connection: db.Connection) -> None:
        """Forget what is stored: something may have changed unheard."""
        self._heard += 1

    def _generation(self) -> Generation:
        """Equal as long as nothing was changed here nor, as far as is heard, elsewhere."""
        return generation.current(), self._heard

    def _renew(self, path: str, begun_in: Generation, environ: WSGIEnvironment) -> Query:
        """Join the query that was begun in this generation, or begin it."""
        with self._lock:
            query = self._queries[path]
            if query.begun_in == begun_in:
                return query
            query = self._queries[path] = Query(begun_in)
        try:
            query.response = self._ask(environ)
            if not query.response.is_storable:
                # An error is for those who waited, not to be kept.
                query.begun_in = NEVER
        finally:
            query.done.set()
        return query

    def _ask(self, environ: WSGIEnvironment) -> Response:
        """Let the application answer a GET."""
        started: list[Any] = []

        def start(status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Any:
            started[:] = [status, headers]

        body = self.wsgi_app({**environ, "REQUEST_METHOD": "GET"}, start)
        try:
            status, headers = started
            response = Response(status, headers, b"".join(body))
        finally:
            if hasattr(body, "close"):
                body.close()
        if response.status.startswith("2") and not response.is_storable:
            # A view that does not say so may have changed something.
            generation.advance()
        return response


@lru_cache(maxsize=64)
def _accepts_gzip(accept_encoding: str) -> bool:
    return bool(parse_accept_header(accept_encoding)["gzip"] > 0)
