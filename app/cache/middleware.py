"""WSGI middleware that serves the lists from cached responses.

Guarantees: a read by any worker sees every write by any worker whose response was sent
before the read began, and never goes back in time (`app.cache.data_version` explains why).
A change made elsewhere becomes visible when its notification arrives, after
`entry.MAX_AGE` at the latest. Until then, two workers may disagree about it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import TYPE_CHECKING

from app.cache import data_version
from app.cache.cached_response import CachedResponse, Representation
from app.cache.entry import CacheEntry
from app.database.notifications import Change
from app.http.errors import unavailable
from app.http.responses import collect

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment


class CacheMiddleware:
    """The middleware; one instance per worker."""

    def __init__(self, wsgi_app: WSGIApplication, paths: Collection[str]) -> None:
        self.wsgi_app = wsgi_app
        self.entries: dict[str, CacheEntry] = {}
        for path in paths:
            self.entries[path] = self.entries[f"{path}/"] = CacheEntry()

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Respond to a request (PEP 3333)."""
        entry = self.entries.get(environ["PATH_INFO"])
        if entry is None or environ["REQUEST_METHOD"] not in {"GET", "HEAD"}:
            return self.wsgi_app(environ, start_response)
        result = entry.fresh() or entry.refresh(lambda: self._fetch(environ))
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
            if transaction_id is None:
                data_version.forget_transactions()
            data_version.record_change(transaction_id)

    def _fetch(self, environ: WSGIEnvironment) -> Representation:
        """Return the application's response to a GET of this path, without a query string."""
        # Other requests share it, so it must not depend on this one's method, query or host.
        shared = {**environ, "REQUEST_METHOD": "GET", "QUERY_STRING": "", "HTTP_HOST": "localhost"}
        return Representation(*collect(self.wsgi_app, shared))
