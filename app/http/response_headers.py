"""What every answer carries.

WSGI middleware around everything else: the request's id, CORS and the security
headers. A request that only asks for permission (a
CORS preflight) is answered here, for any path: a browser would report a 404 to
its preflight as a CORS error, and hide the real answer from whoever debugs it.
"""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Iterable
from typing import TYPE_CHECKING, Any

from flask import Flask

from app.http import cors

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

# What Heroku's router accepts as an id from outside: 20 to 128 of these. We take shorter ones too.
_REQUEST_ID = re.compile(r"[A-Za-z0-9._=+/-]{1,128}")


def init_app(app: Flask) -> None:
    """Wrap the application."""
    app.wsgi_app = Envelope(app.wsgi_app, app.config["CORS_ORIGINS"])  # type: ignore[method-assign]


def headers(environ: WSGIEnvironment, origins: Collection[str]) -> list[tuple[str, str]]:
    """The headers that every answer to this request carries.

    Makes up an `X-Request-ID` where the request's is missing or malformed, and
    leaves it in the environment for whoever logs.
    """
    request_id = environ.get("HTTP_X_REQUEST_ID", "")
    if not _REQUEST_ID.fullmatch(request_id):
        request_id = environ["HTTP_X_REQUEST_ID"] = os.urandom(16).hex()
    answer = [("X-Request-ID", request_id), ("X-Content-Type-Options", "nosniff")]
    if environ["wsgi.url_scheme"] == "https":
        # RFC 6797, section 7.2: never over plain HTTP.
        answer.append(("Strict-Transport-Security", "max-age=31536000"))
    if "werkzeug.socket" in environ:
        # `flask run` would name its versions.
        answer.append(("Server", "werkzeug"))
    return answer + cors.response_headers(environ.get("HTTP_ORIGIN"), origins)


class Envelope:
    """The middleware; one instance serves all requests."""

    def __init__(self, wsgi_app: WSGIApplication, origins: Collection[str]) -> None:
        self.wsgi_app = wsgi_app
        self.origins = origins

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Answer a request (PEP 3333)."""
        added = headers(environ, self.origins)

        def start(status: str, own: list[tuple[str, str]], exc_info: Any = None) -> Any:
            return start_response(status, _merge_vary(own + added), exc_info)

        if _is_preflight(environ):
            allowed = environ.get("HTTP_ACCESS_CONTROL_REQUEST_HEADERS", "")
            start(
                "204 No Content",
                [("Allow", cors.ALLOWED_METHODS), *cors.preflight_headers(allowed)],
            )
            return []
        return self.wsgi_app(environ, start)


def _is_preflight(environ: WSGIEnvironment) -> bool:
    return (
        environ["REQUEST_METHOD"] == "OPTIONS"
        and "HTTP_ORIGIN" in environ
        and "HTTP_ACCESS_CONTROL_REQUEST_METHOD" in environ
    )


def _merge_vary(headers: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """One `Vary` line: some clients look only at the first."""
    varying = [value for name, value in headers if name == "Vary"]
    if len(varying) < 2:
        return headers
    return [pair for pair in headers if pair[0] != "Vary"] + [("Vary", ", ".join(varying))]
