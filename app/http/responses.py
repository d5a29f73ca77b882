"""Cacheable responses: JSON that is the same for every client."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps

from flask import Flask, Response

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
