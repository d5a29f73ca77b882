"""GET /api/debug/reset: a fresh set of data, for development and the course's test suite.

Not registered in production: there the path gets a 404 like any unknown one.
"""

from __future__ import annotations

from flask import Blueprint, Response
from werkzeug.exceptions import Forbidden

from app.database import schema
from app.database.pool import REPLY_TIMEOUT

bp = Blueprint("debug", __name__)


@bp.get("/api/debug/reset")
def reset() -> Response:
    """Drop, create and seed all tables; 403 if the database may be somebody's in production."""
    try:
        schema.reset(timeout=REPLY_TIMEOUT)
    except schema.RemoteDatabase as error:
        raise Forbidden(f"{error} To reset it all the same: flask db reset --yes") from error
    return Response("Database Reset", mimetype="text/plain", headers={"Cache-Control": "no-store"})
