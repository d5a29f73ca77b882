"""The cached response of one path, and the calls of the application that refresh it.

Guarantees: a request gets a response whose query started after the request arrived, or
a cached one that is just as new. A worker runs at most one query per path at a time.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from app.cache import data_version
from app.cache.cached_response import CachedResponse, Representation

# Seconds from the start of the query. Limits how long a change without a notification
# stays invisible.
MAX_AGE = 1.0
# Seconds that a request waits for a refresh that another thread runs.
WAIT_TIMEOUT = 4.7

# Calls the application, and returns its response to a GET of the path.
Fetch = Callable[[], Representation]


class Refresh:
    """A call of the application. Several requests may wait for its result."""

    def __init__(self, fetch: Fetch) -> None:
        self.fetch = fetch
        self.done = threading.Event()
        self.result: CachedResponse | Representation | None = None


class CacheEntry:
    """The cached response of a path, and the refresh that waiting requests will share."""

    def __init__(self) -> None:
        self.response: CachedResponse | None = None
        self._version = b""
        self._expires_at = 0.0
        self._lock = threading.Lock()
        self._is_refreshing = False
        self._next: Refresh | None = None

    def fresh(self) -> CachedResponse | None:
        """Return the cached response if it may be served now."""
        if self._version == data_version.current() and time.monotonic() < self._expires_at:
            return self.response
        return None

    def refresh(self, fetch: Fetch) -> CachedResponse | Representation | None:
        """Return the result of a refresh that starts after this call, or None after a timeout.

        A running refresh is not shared: its result may be older than a write that the client
        has seen. All requests that arrive while it runs share the next one.
        """
        with self._lock:
            is_idle = not self._is_refreshing
            self._is_refreshing = True
            if is_idle:
                refresh = Refresh(fetch)
            else:
                refresh = self._next = self._next or Refresh(fetch)
        if is_idle:
            self._run(refresh)
        else:
            refresh.done.wait(WAIT_TIMEOUT)
        return refresh.result

    def _run(self, refresh: Refresh) -> None:
        """Run a refresh. If requests wait for the next one, a thread runs that one."""
        try:
            refresh.result = self.fresh() or self._update(refresh.fetch)
        finally:
            refresh.done.set()
            with self._lock:
                following, self._next = self._next, None
                self._is_refreshing = following is not None
            if following:
                threading.Thread(target=self._run, args=[following], daemon=True).start()

    def _update(self, fetch: Fetch) -> CachedResponse | Representation:
        """Fetch the response, and cache it if no commit was in flight."""
        version = data_version.read()
        expires_at = time.monotonic() + MAX_AGE
        received = fetch()
        if not received.status.startswith("200"):
            return received
        response = self.response
        # If the body is the same, the cached response stays, with its compressed body.
        if response is None or response.body != received.body:
            if self._version == version.value:
                # A change without a notification. Other workers and paths must query too, and the
                # new response is not served again either: its version is outdated from here on.
                data_version.record_change()
            response = CachedResponse(received.headers, received.body)
        self.response = response
        # No version is b"", so an unsettled response is never served. It is kept for comparison.
        self._version = version.value if version.is_settled else b""
        self._expires_at = expires_at
        return response
