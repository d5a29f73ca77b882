"""Slashes in paths: one trailing slash is optional, other extra slashes cause a 404.

No path is redirected: a redirect would break a CORS preflight.
"""

from __future__ import annotations

from flask import Flask, request
from werkzeug.exceptions import NotFound


def init_app(app: Flask) -> None:
    """Apply these rules to the application."""
    app.url_map.strict_slashes = False
    app.url_map.merge_slashes = False
    app.before_request(_refuse_leading_slashes)


def _refuse_leading_slashes() -> None:
    """Return 404 for `//api/days`: Werkzeug would strip a slash."""
    if request.environ["PATH_INFO"].startswith("//"):
        raise NotFound
