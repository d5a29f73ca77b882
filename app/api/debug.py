"""GET /api/debug/reset: resets the data, for development and the course's test suite.

The route exists only if `APP_ENV` is development or test.
"""

from __future__ import annotations

from flask import Blueprint, Response
from werkzeug.exceptions import Forbidden

from app.database import schema
from app.database.connection import REPLY_TIMEOUT

bp = Blueprint("debug", __name__)


@bp.get("/api/debug/reset")
def reset() -> Response:
    """Drop, create and seed all tables. Returns 403 for a remote database."""
    try:
        schema.reset(timeout=REPLY_TIMEOUT)
    except schema.RemoteDatabase as error:
        raise Forbidden(f"{error} To reset it anyway: flask db reset --yes") from error
    return Response("Database Reset", mimetype="text/plain", headers={"Cache-Control": "no-store"})
