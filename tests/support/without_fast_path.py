"""The application under a worker that declines every request on the fast path."""

from __future__ import annotations

from flask import Flask

from app import create_app
from app.server import plain_request


def create() -> Flask:
    """Create the application; gunicorn calls it by name."""
    plain_request.MAX_HEAD_BYTES = 0
    return create_app()
