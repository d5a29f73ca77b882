"""GET /api/interviewers: the mentors, with their names and avatars."""

from __future__ import annotations

from flask import Blueprint, Response

from app.database import statements

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
def list_interviewers() -> Response:
    """Answer with an object of all interviewers, keyed by id, ascending."""
    return statements.respond_with_json(SELECT_INTERVIEWERS)
