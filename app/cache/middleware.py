"""WSGI middleware that serves the lists from cached responses.

Guarantees: on one machine, a read by any worker sees every write whose response was
sent before the read began, and never goes back in time (`app.cache.data_version`
explains why). A change made elsewhere becomes visible when its notification arrives,
after `MAX_AGE` at the latest. A worker runs at most one query per path at a time.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Collection, Iterable, Sequence
from typing import TYPE_CHECKING, Any

from app.cache import data_version
from app.cache.cached_response import CachedResponse, Representation
from app.database.change_listener import Change, Subscriber
from app.database.connection import DatabaseConnection
from app.http.errors import unavailable
from app.http.response_headers import Headers

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

# Seconds from the start of the query. Limits how long a change without a notification
# stays invisible.
MAX_AGE = 1.0
# Seconds that a request waits for another request's query.
JOIN_TIMEOUT = 4.8


class Query:
    """A query for a path. Several requests may wait for its result."""

    def __init__(self) -> None:
        self.done = threading.Event()
        self.result: CachedResponse | Representation | None = None


class Entry:
    """The cached response of a path, its running query and the next one."""

    def __init__(self) -> None:
        self.response: CachedResponse | None = None
        self.version = b""
        self.expires_at = 0.0
        self.lock = threading.Lock()
        self.running: Query | None = None
        self.next: Query | None = None

    def fresh(self) -> CachedResponse | None:
        """Return the cached response, or None if it is not current."""
        if self.version == data_version.begun() and time.monotonic() < self.expires_at:
            return self.response
        return None


class CacheMiddleware(Subscriber):
    """The middleware; one instance per worker."""

    def __init__(self, wsgi_app: WSGIApplication, paths: Collection[str]) -> None:
        self.wsgi_app = wsgi_app
        self.entries: dict[str, Entry] = {}
        for path in paths:
            self.entries[path] = self.entries[f"{path}/"] = Entry()

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Respond to a request (PEP 3333)."""
        entry = self.entries.get(environ["PATH_INFO"])
        if entry is None or environ["REQUEST_METHOD"] not in {"GET", "HEAD"}:
            return self.wsgi_app(environ, start_response)
        result = entry.fresh() or self._query_or_join(entry, environ)
        if result is None:
            return unavailable()(environ, start_response)
        if isinstance(result, CachedResponse):
            result = result.select(
                environ.get("HTTP_IF_NONE_MATCH"), environ.get("HTTP_ACCEPT_ENCODING")
            )
        start_response(result.status, list(result.headers))
        return [] if environ["REQUEST_METHOD"] == "HEAD" else [result.body]

    def receive(self, changes: Sequence[Change]) -> None:
        """Count the changes in the data version, which invalidates the cached responses."""
        for transaction_id in {change.transaction_id for change in changes}:
            data_version.changed(transaction_id)

    def compare(self, connection: DatabaseConnection) -> int:
        """Invalidate the cached responses, because changes may have been missed. Returns 0."""
        data_version.forget_transactions()
        data_version.changed()
        return 0

    def _query_or_join(
        self, entry: Entry, environ: WSGIEnvironment
    ) -> CachedResponse | Representation | None:
        """Run a query or wait for the next one. Returns None after a timeout.

        A request never joins a query that is already running: its result may be older than
        a write that the client has seen.
        """
        with entry.lock:
            predecessor = entry.running
            query = entry.next
            is_joining = query is not None
            if query is None:
                query = Query()
                if predecessor is None:
                    entry.running = query
                else:
                    entry.next = query
        if is_joining:
            query.done.wait(JOIN_TIMEOUT)
            return query.result
        try:
            if predecessor is not None:
                is_done = predecessor.done.wait(JOIN_TIMEOUT)
                with entry.lock:
                    entry.next = None
                    if is_done:
                        entry.running = query
                if not is_done:
                    return None
                if not isinstance(predecessor.result, CachedResponse):
                    # It has failed just now. Trying again could take another five seconds.
                    query.result = predecessor.result
                    return query.result
            query.result = entry.fresh() or self._query(entry, environ)
            return query.result
        finally:
            with entry.lock:
                if entry.running is query:
                    entry.running = None
                if entry.next is query:
                    entry.next = None
            query.done.set()

    def _query(self, entry: Entry, environ: WSGIEnvironment) -> CachedResponse | Representation:
        """Call the application, and cache its response if no commit was in flight."""
        version = data_version.current()
        expires_at = time.monotonic() + MAX_AGE
        received = self._call(environ)
        if not received.status.startswith("200"):
            return received
        response = entry.response
        # If the body is the same, the cached response stays, with its compressed body.
        if response is None or response.body != received.body:
            response = CachedResponse(received.headers, received.body)
        entry.response = response
        entry.version = version.begun if version.is_settled else b""
        entry.expires_at = expires_at
        return response

    def _call(self, environ: WSGIEnvironment) -> Representation:
        """Return the application's response to a plain GET of this path."""
        started: list[tuple[str, Headers]] = []

        def start(status: str, headers: Headers, exc_info: Any = None) -> Any:
            started[:] = [(status, headers)]

        # Other requests get the same response, so it depends on the path alone.
        shared = {**environ, "REQUEST_METHOD": "GET", "QUERY_STRING": "", "HTTP_HOST": "localhost"}
        body = self.wsgi_app(shared, start)
        try:
            data = b"".join(body)
        finally:
            if hasattr(body, "close"):
                body.close()
        status, headers = started[0]
        return Representation(status, headers, data)
