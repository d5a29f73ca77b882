"""The status line and headers of every response: request id, security headers and CORS.

`complete` adds the security and CORS headers. Its callers add `X-Request-ID`: the WSGI
middleware below, and the server for responses that it sends without the application.
"""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Iterable
from functools import cache
from typing import TYPE_CHECKING, Any

from app.http import cors
from app.http.errors import phrase

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

Headers = list[tuple[str, str]]

# The characters and the maximum length that Heroku's router accepts in a client's request id.
_is_request_id = re.compile(r"[A-Za-z0-9._=+/-]{1,128}").fullmatch


def request_id(given: str | None) -> str:
    """Return the request's `X-Request-ID`, or a new id if it is missing or malformed."""
    if given is not None and _is_request_id(given):
        return given
    return os.urandom(16).hex()


def complete(
    headers: Headers, scheme: str, origin: str | None, origins: Collection[str]
) -> Headers:
    """Return a response's headers, with the security and CORS headers added.

    `scheme` and `origin` are the request's URL scheme and `Origin`; `origins` are the
    allowed ones. `X-Request-ID` is not added: it differs from request to request.
    """
    added = [("X-Content-Type-Options", "nosniff")]
    if scheme == "https":
        # RFC 6797, section 7.2: never over plain HTTP.
        added.append(("Strict-Transport-Security", "max-age=31536000"))
    return _merge_vary([*map(_sort_methods, headers), *added, *cors.headers(origin, origins)])


def _merge_vary(headers: Headers) -> Headers:
    """Merge `Vary` into one line: some clients read only the first."""
    varying = [value for name, value in headers if name == "Vary"]
    if len(varying) < 2:
        return headers
    return [header for header in headers if header[0] != "Vary"] + [("Vary", ", ".join(varying))]


@cache
def _with_phrase(status: str) -> str:
    """Return a status with the phrase of RFC 9110. Werkzeug has other phrases."""
    return f"{status[:3]} {phrase(int(status[:3]))}"


def _sort_methods(header: tuple[str, str]) -> tuple[str, str]:
    """Sort the methods in `Allow`. Werkzeug takes them from a set."""
    name, value = header
    return (name, ", ".join(sorted(value.split(", ")))) if name == "Allow" else header


class ResponseHeadersMiddleware:
    """WSGI middleware that completes the headers of every response."""

    def __init__(self, wsgi_app: WSGIApplication, origins: Collection[str]) -> None:
        self.wsgi_app = wsgi_app
        self.origins = origins

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Respond to a request (PEP 3333)."""
        # The log and the application read the id from the WSGI environ.
        environ["HTTP_X_REQUEST_ID"] = request_id(environ.get("HTTP_X_REQUEST_ID"))

        def start(status: str, headers: Headers, exc_info: Any = None) -> Any:
            completed = complete(
                headers, environ["wsgi.url_scheme"], environ.get("HTTP_ORIGIN"), self.origins
            )
            completed.append(("X-Request-ID", environ["HTTP_X_REQUEST_ID"]))
            return start_response(_with_phrase(status), completed, exc_info)

        if cors.is_preflight(environ):
            start("204", cors.preflight_headers(environ))
            return []
        return self.wsgi_app(environ, start)
