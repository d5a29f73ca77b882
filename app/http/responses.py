"""Cacheable JSON responses, and a function that calls a WSGI application."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import TYPE_CHECKING, Any

from flask import Flask, Response

from app.http.response_headers import Headers

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication, WSGIEnvironment

_MARK = "is_cacheable"


def cacheable_json(view: Callable[[], str]) -> Callable[[], Response]:
    """Decorate a view that returns JSON text: its response becomes cacheable.

    The text must depend on the database alone, not on the request. `no-cache` lets
    browsers keep a copy, which they revalidate before each use (RFC 9111, section
    5.2.2.4).
    """

    @wraps(view)
    def respond() -> Response:
        headers = {"Cache-Control": "no-cache"}
        return Response(view(), mimetype="application/json", headers=headers)

    setattr(respond, _MARK, True)
    return respond


def cacheable_paths(app: Flask) -> list[str]:
    """Return the paths of the views that `cacheable_json` decorates."""
    return [
        rule.rule
        for rule in app.url_map.iter_rules()
        if hasattr(app.view_functions[rule.endpoint], _MARK)
    ]


def collect(wsgi_app: WSGIApplication, environ: WSGIEnvironment) -> tuple[str, Headers, bytes]:
    """Call a WSGI application. Returns its status, headers and whole body (PEP 3333)."""
    started: list[tuple[str, Headers]] = []

    def start_response(status: str, headers: Headers, exc_info: Any = None) -> Any:
        started.append((status, headers))

    pieces = wsgi_app(environ, start_response)
    try:
        body = b"".join(pieces)
    finally:
        if hasattr(pieces, "close"):
            pieces.close()
    return *started[-1], body
