"""Flask without what this API does not need: sessions, host names and asynchronous views.

These take a fifth of the time that Flask needs for a booking.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from flask import Flask, Request
from flask.sessions import NullSession, SessionInterface
from werkzeug.routing import MapAdapter


class _NoSessions(SessionInterface):
    _session = NullSession()

    def open_session(self, app: Flask, request: Request) -> NullSession:
        return self._session


class Application(Flask):
    """The application. It ignores the `Host` of a request, and does not redirect paths.

    One trailing slash is optional. Other extra slashes cause a 404. A redirect would break
    a CORS preflight.
    """

    session_interface = _NoSessions()

    def __init__(self, import_name: str) -> None:
        super().__init__(import_name, static_folder=None)
        self.url_map.strict_slashes = False
        self.url_map.merge_slashes = False

    def create_url_adapter(self, request: Request | None) -> MapAdapter | None:
        """Return the adapter that finds the view for a request."""
        if request is None:
            return None
        path = request.environ["PATH_INFO"].encode("latin-1").decode(errors="replace")
        return self.url_map.bind(
            "localhost",
            # Werkzeug would strip a slash from `//api/days`. No rule matches an empty path.
            path_info="" if path.startswith("//") else path,
            default_method=request.method,
        )

    def ensure_sync(self, func: Callable[..., Any]) -> Callable[..., Any]:
        """Return the function: no view is a coroutine."""
        return func
