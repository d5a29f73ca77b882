"""Cross-origin resource sharing (Fetch standard, CORS protocol).

One rule for every response: a view's, a cached one, a WebSocket handshake, and
the server's refusal of a malformed request. Origins are compared as whole
strings; nothing is a pattern.
"""

from __future__ import annotations

from collections.abc import Collection

ALLOWED_METHODS = "GET, HEAD, PUT, DELETE, OPTIONS"
EXPOSED_HEADERS = "ETag, Retry-After, X-Request-ID"
# Seconds that a browser may keep the response to a preflight; Chromium keeps it no longer.
MAX_AGE = "7200"


def is_allowed(origin: str | None, origins: Collection[str]) -> bool:
    """Whether to serve a request with this `Origin`; only browsers send one."""
    return origin is None or "*" in origins or origin in origins


def response_headers(origin: str | None, origins: Collection[str]) -> list[tuple[str, str]]:
    """The CORS headers of any response, for the request's `Origin` and the allowed origins."""
    if "*" in origins:
        return [
            ("Access-Control-Allow-Origin", "*"),
            ("Access-Control-Expose-Headers", EXPOSED_HEADERS),
        ]
    # A shared cache must not serve one origin's response to another.
    headers = [("Vary", "Origin")]
    if origin is not None and origin in origins:
        headers += [
            ("Access-Control-Allow-Origin", origin),
            ("Access-Control-Expose-Headers", EXPOSED_HEADERS),
        ]
    return headers


def preflight_headers(requested_headers: str) -> list[tuple[str, str]]:
    """The additional headers of a preflight's response; all requested headers are allowed."""
    headers = [
        ("Access-Control-Allow-Methods", ALLOWED_METHODS),
        ("Access-Control-Max-Age", MAX_AGE),
    ]
    if requested_headers:
        headers.append(("Access-Control-Allow-Headers", requested_headers))
    return headers
