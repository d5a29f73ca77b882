"""Cross-origin resource sharing (Fetch standard, CORS protocol).

The same rules apply to the responses of views and of the cache, and to WebSocket handshakes.
The response to a malformed request has the CORS headers of a request without an `Origin`.
Origins are compared as whole strings.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment

ALLOWED_METHODS = "GET, HEAD, PUT, DELETE, OPTIONS"
EXPOSED_HEADERS = "ETag, Retry-After, X-Request-ID"
# Seconds that browsers cache the response to a preflight. This is Chromium's maximum.
MAX_AGE = "7200"


def may_open_websocket(origin: str | None, origins: Collection[str]) -> bool:
    """Return whether a client may open a WebSocket. Only browsers send an `Origin`."""
    return origin is None or "*" in origins or origin in origins


def headers(origin: str | None, origins: Collection[str]) -> list[tuple[str, str]]:
    """Return the CORS headers of a response, from the request's `Origin` and the allowed ones."""
    added = []
    if "*" in origins:
        origin = "*"
    else:
        # A shared cache must not serve one origin's response to another.
        added.append(("Vary", "Origin"))
    if origin is not None and origin in origins:
        added += [
            ("Access-Control-Allow-Origin", origin),
            ("Access-Control-Expose-Headers", EXPOSED_HEADERS),
        ]
    return added


def is_preflight(environ: WSGIEnvironment) -> bool:
    """Return whether a request is a preflight.

    The response is the same on any path: a browser would report a 404 as a CORS error.
    """
    return (
        environ["REQUEST_METHOD"] == "OPTIONS"
        and "HTTP_ORIGIN" in environ
        and "HTTP_ACCESS_CONTROL_REQUEST_METHOD" in environ
    )


def preflight_headers(environ: WSGIEnvironment) -> list[tuple[str, str]]:
    """Return the additional headers for a preflight. All requested headers are allowed."""
    added = [
        ("Allow", ALLOWED_METHODS),
        ("Access-Control-Allow-Methods", ALLOWED_METHODS),
        ("Access-Control-Max-Age", MAX_AGE),
    ]
    if requested := environ.get("HTTP_ACCESS_CONTROL_REQUEST_HEADERS"):
        added.append(("Access-Control-Allow-Headers", requested))
    return added
