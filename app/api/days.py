"""GET /api/days: the days of the week, each with its appointments, interviewers and free spots."""

from __future__ import annotations

from flask import Blueprint

from app.database import statements
from app.http.responses import cacheable_json

bp = Blueprint("days", __name__)

SELECT_DAYS = """
    SELECT coalesce(json_agg(day ORDER BY day.id), '[]')::text
    FROM (
      SELECT
        days.id,
        days.name,
        coalesce(schedule.appointments, '{}') AS appointments,
        coalesce(available.interviewers, '{}') AS interviewers,
        coalesce(schedule.spots, 0) AS spots
      FROM days
      LEFT JOIN (
        SELECT
          appointments.day_id,
          array_agg(appointments.id ORDER BY appointments.id) AS appointments,
          count(*) FILTER (WHERE interviews.id IS NULL) AS spots
        FROM appointments
        LEFT JOIN interviews ON interviews.appointment_id = appointments.id
        GROUP BY appointments.day_id
      ) AS schedule ON schedule.day_id = days.id
      LEFT JOIN (
        SELECT
          day_id,
          array_agg(DISTINCT interviewer_id ORDER BY interviewer_id) AS interviewers
        FROM available_interviewers
        WHERE interviewer_id IS NOT NULL
        GROUP BY day_id
      ) AS available ON available.day_id = days.id
    ) AS day
"""


@bp.get("/api/days")
@cacheable_json
def list_days() -> str:
    """Return an array of all days, ordered by id."""
    return statements.fetch_text(SELECT_DAYS)
