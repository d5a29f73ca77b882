"""GET /api/debug/reset: a fresh set of data, for development and the course's test suite.

Not registered in production: there the path answers 404 like any unknown one.
"""

from __future__ import annotations

from flask import Blueprint, Response

from app.database import schema
from app.database.pool import REPLY_TIMEOUT

bp = Blueprint("debug", __name__)


@bp.get("/api/debug/reset")
def reset() -> Response:
    """Drop, create and seed all tables."""
    schema.reset(timeout=REPLY_TIMEOUT)
    return Response("Database Reset", mimetype="text/plain", headers={"Cache-Control": "no-store"})
