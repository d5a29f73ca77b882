"""Which paths name a resource: with or without a trailing slash, and no other way.

No path is redirected: a redirect would break a CORS preflight.
"""

from __future__ import annotations

from flask import Flask, request
from werkzeug.exceptions import NotFound


def init_app(app: Flask) -> None:
    """Set the application's rules for slashes."""
    app.url_map.strict_slashes = False
    app.url_map.merge_slashes = False
    app.before_request(_refuse_leading_slashes)


def _refuse_leading_slashes() -> None:
    """Respond with 404 to `//api/days`, from which Werkzeug would strip a slash."""
    if request.environ["PATH_INFO"].startswith("//"):
        raise NotFound
