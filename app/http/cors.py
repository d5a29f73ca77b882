"""Cross-origin resource sharing: who may call from a browser (Fetch standard, CORS protocol).

One rule for every answer, wherever it is made: by a view, by the stored answers,
by the WebSocket handshake or by the server that refuses a malformed request.
Origins are compared as whole strings; nothing is a pattern.
"""

from __future__ import annotations

from collections.abc import Collection

ALLOWED_METHODS = "GET, HEAD, PUT, DELETE, OPTIONS"
EXPOSED_HEADERS = "ETag, Retry-After, X-Request-ID"
# Browsers keep a preflight's answer at most this long (Chromium's limit), in seconds.
MAX_AGE = "7200"


def is_allowed(origin: str | None, origins: Collection[str]) -> bool:
    """Whether a request with this `Origin` may go on; without one it is no browser's."""
    return origin is None or "*" in origins or origin in origins


def response_headers(origin: str | None, origins: Collection[str]) -> list[tuple[str, str]]:
    """The headers every answer carries, for the request's `Origin` (None: it had none)."""
    if "*" in origins:
        return [
            ("Access-Control-Allow-Origin", "*"),
            ("Access-Control-Expose-Headers", EXPOSED_HEADERS),
        ]
    # A shared cache must not serve one origin's answer to another.
    headers = [("Vary", "Origin")]
    if origin is not None and origin in origins:
        headers += [
            ("Access-Control-Allow-Origin", origin),
            ("Access-Control-Expose-Headers", EXPOSED_HEADERS),
        ]
    return headers


def preflight_headers(requested_headers: str) -> list[tuple[str, str]]:
    """What a preflight's answer carries besides; the headers asked for are all allowed."""
    headers = [
        ("Access-Control-Allow-Methods", ALLOWED_METHODS),
        ("Access-Control-Max-Age", MAX_AGE),
    ]
    if requested_headers:
        headers.append(("Access-Control-Allow-Headers", requested_headers))
    return headers
