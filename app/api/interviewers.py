"""GET /api/interviewers: all interviewers, with their names and avatars."""

from __future__ import annotations

from flask import Blueprint

from app.database import statements
from app.http.responses import cacheable_json

bp = Blueprint("interviewers", __name__)

SELECT_INTERVIEWERS = """
    SELECT
      coalesce(json_object_agg(interviewer.id, interviewer ORDER BY interviewer.id), '{}')::text
    FROM (
      SELECT id, name, avatar
      FROM interviewers
    ) AS interviewer
"""


@bp.get("/api/interviewers")
@cacheable_json
def list_interviewers() -> str:
    """Return an object of all interviewers, keyed by id, in ascending order."""
    return statements.fetch_text(SELECT_INTERVIEWERS)
