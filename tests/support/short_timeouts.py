"""The application with short intervals and timeouts, for tests that wait for them to pass."""

from __future__ import annotations

from flask import Flask

from app import create_app
from app.live import websocket


def create() -> Flask:
    """Create the application; gunicorn calls it by name."""
    websocket.PING_INTERVAL = 0.5
    websocket.SILENCE_TIMEOUT = 2.5
    return create_app()
