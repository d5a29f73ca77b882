"""The application with short timeouts, so that a test need not wait for the real ones.

The timeouts of a server process. Tests in this process use monkeypatch.
"""

from __future__ import annotations

from flask import Flask

from app import create_app
from app.live import broadcaster, websocket
from app.server import client_connection, request_body, sending

# For `serve`: what gunicorn loads instead of `app:create_app()`.
COMMAND = 'gunicorn "tests.support.short_timeouts:create()"'

PING_INTERVAL = 0.5
SILENCE_TIMEOUT = 2.5
BODY_TIMEOUT = 2.0
HEAD_TIMEOUT = 2.0
SEND_TIMEOUT = 1.0


def create() -> Flask:
    """Create the application; gunicorn calls it by name."""
    broadcaster.KEEP_ALIVE_INTERVAL = 0.2
    websocket.PING_INTERVAL = PING_INTERVAL
    websocket.SILENCE_TIMEOUT = SILENCE_TIMEOUT
    request_body.BODY_TIMEOUT = BODY_TIMEOUT
    client_connection.HEAD_TIMEOUT = HEAD_TIMEOUT
    sending.SEND_TIMEOUT = SEND_TIMEOUT
    return create_app()
