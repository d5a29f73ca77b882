"""Answers the GETs from stored responses while nothing has changed.

Knows HTTP, not this API: `app.cache.cached_response` says what may be stored.

Promises: on one machine, a read sees every write that was answered before the
read began, and every change that a read which ended before has shown, whichever
process answered. Between machines it sees it as soon as PostgreSQL's notification
arrives; while the change feed is down, nothing stored is used. One query a change
and process, however many wait for it. Memory holds one response for each path
that can be stored.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from flask import Flask

from app.cache import data_version
from app.cache.cached_response import Headers, Response
from app.database import pool
from app.database.change_listener import Change, Feed
from app.http.errors import unavailable

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

SAFE_METHODS = {"GET", "HEAD", "OPTIONS"}
# Seconds to wait for a query that another request has begun.
SHARED_WITHIN = 4.8
# Seconds until which a query is repeated where another process saw something else.
AGREED_WITHIN = 0.4


def init_app(app: Flask) -> None:
    """Wrap the application."""
    cache = Cache(app.wsgi_app, app.extensions["changes"])
    app.extensions["changes"].subscribe(cache)
    app.wsgi_app = cache  # type: ignore[method-assign]


class Query:
    """A request to the application that others wait for too."""

    def __init__(self, begun_in: bytes) -> None:
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
        # as long as the generation is the one in which it was begun. For other
        # paths, only while somebody waits for the answer.
        self._queries: dict[str, Query] = {}

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Answer a request (PEP 3333)."""
        self._feed.start()
        if environ["REQUEST_METHOD"] not in {"GET", "HEAD"}:
            return self._pass(environ, start_response)
        path = environ["PATH_INFO"].removesuffix("/")
        # With a query the same thing has any number of names: nothing is stored for those.
        if environ.get("QUERY_STRING") or not self._feed.is_reliable:
            asked = self._ask(path, environ, Query(data_version.current()))
            return asked.send(environ, start_response)
        begun_in = data_version.current()
        query = self._queries.get(path)
        if query is None or query.begun_in != begun_in:
            query = self._join_or_begin(path, begun_in, environ)
        if not query.done.is_set():
            query.done.wait(SHARED_WITHIN)
        if query.response is None:
            return unavailable()(environ, start_response)
        return query.response.send(environ, start_response)

    def changed(self, change: Change) -> None:
        """Forget what is stored: somebody changed something."""
        data_version.advance(change.transaction_id)

    def resumed(self, connection: pool.Connection) -> None:
        """Forget what is stored: something may have changed unheard."""
        data_version.forget()

    def _pass(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Let the application answer a write; nobody reads the past after the answer."""

        def start(status: str, headers: Headers, exc_info: Any = None) -> Any:
            # A refusal changed nothing. After a failure, that is unknown.
            if environ["REQUEST_METHOD"] not in SAFE_METHODS and not status.startswith("4"):
                data_version.advance(environ.get("scheduler.transaction_id"))
            return start_response(status, headers, exc_info)

        return self.wsgi_app(environ, start)

    def _join_or_begin(self, path: str, begun_in: bytes, environ: WSGIEnvironment) -> Query:
        """Join the query that was begun in this generation, or begin it."""
        with self._lock:
            query = self._queries.get(path)
            if query and query.begun_in == begun_in:
                return query
            query = self._queries[path] = Query(begun_in)
        try:
            query.response = self._ask(path, environ, query)
        finally:
            if query.response is None or not query.response.is_storable:
                self._drop(path, query)
            query.done.set()
        return query

    def _drop(self, path: str, query: Query) -> None:
        """Keep an error for those only who wait for it; the next one asks again."""
        with self._lock:
            if self._queries.get(path) is query:
                del self._queries[path]

    def _ask(self, path: str, environ: WSGIEnvironment, query: Query) -> Response:
        """Let the application answer, again where another process has seen something else."""
        until = time.monotonic() + AGREED_WITHIN
        while True:
            response = self._ask_once(environ)
            if (
                not response.is_storable
                or data_version.agrees(path, response.fingerprint, query.begun_in)
                or time.monotonic() > until
            ):
                return response
            query.begun_in = data_version.current()

    def _ask_once(self, environ: WSGIEnvironment) -> Response:
        """Let the application answer a GET."""
        started: list[Any] = []

        def start(status: str, headers: Headers, exc_info: Any = None) -> Any:
            started[:] = [status, headers]

        # For everybody who waits: no matter which host name this one asked for.
        asked = {**environ, "REQUEST_METHOD": "GET", "HTTP_HOST": "localhost"}
        body = self.wsgi_app(asked, start)
        try:
            status, headers = started
            response = Response(status, headers, b"".join(body))
        finally:
            if hasattr(body, "close"):
                body.close()
        if status.startswith("2") and not response.is_storable:
            # A view that does not allow to store its answer may have changed something.
            data_version.advance()
        return response
