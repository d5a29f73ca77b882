"""GET /api/appointments; PUT and DELETE /api/appointments/<appointment_id>.

PUT books an appointment or edits its interview, DELETE cancels the interview. With
`If-Match: *` they write only if the appointment is booked, with `If-None-Match: *` only
if it is free (RFC 9110, section 13.1).
"""

from __future__ import annotations

from flask import Blueprint, Response
from werkzeug.exceptions import NotFound, PreconditionFailed

from app.api import booking, preconditions, simulation
from app.database import statements
from app.http import json_body
from app.http.errors import FieldError, InvalidFields
from app.http.responses import cacheable_json

bp = Blueprint("appointments", __name__)
simulation.init_blueprint(bp)

SELECT_APPOINTMENTS = """
    SELECT
      coalesce(json_object_agg(appointment.id, appointment ORDER BY appointment.id), '{}')::text
    FROM (
      SELECT
        appointments.id,
        appointments.time,
        CASE WHEN interviews.id IS NOT NULL THEN
          json_build_object(
            'student', interviews.student,
            'interviewer', interviews.interviewer_id
          )
        END AS interview
      FROM appointments
      LEFT JOIN interviews ON interviews.appointment_id = appointments.id
    ) AS appointment
"""


@bp.get("/api/appointments")
@cacheable_json
def list_appointments() -> str:
    """Return an object of all appointments, keyed by id, in ascending order."""
    return statements.fetch_text(SELECT_APPOINTMENTS)


# The locks prevent others from deleting the appointment or the interviewer before the insert,
# or the interview before the update. `has_vanished` is true if the interview was deleted
# while the statement waited to lock it. The deleting transaction may have inserted another
# interview, which only a new statement can see.
BOOK = """
    WITH appointment AS (
      SELECT id
      FROM appointments
      WHERE id = %(appointment_id)s
      FOR KEY SHARE
    ), interviewer AS (
      SELECT id
      FROM interviewers
      WHERE id = %(interviewer)s
      FOR KEY SHARE
    ), booked AS (
      SELECT id
      FROM interviews
      WHERE appointment_id = %(appointment_id)s
      FOR UPDATE
    ), stored AS (
      INSERT INTO interviews (student, interviewer_id, appointment_id)
      SELECT %(student)s, interviewer.id, appointment.id
      FROM appointment
      CROSS JOIN interviewer
      WHERE NOT %(must_be_booked)s OR EXISTS (SELECT FROM booked)
      ON CONFLICT (appointment_id) DO UPDATE
      SET student = EXCLUDED.student, interviewer_id = EXCLUDED.interviewer_id
      WHERE NOT %(must_be_free)s
      RETURNING id
    )
    SELECT
      EXISTS (SELECT FROM appointment) AS appointment_exists,
      EXISTS (SELECT FROM interviewer) AS interviewer_exists,
      %(must_be_booked)s AND NOT EXISTS (SELECT FROM booked) AND EXISTS (
        SELECT FROM interviews WHERE appointment_id = %(appointment_id)s
      ) AS has_vanished,
      (SELECT pg_current_xact_id()::text FROM stored) AS transaction_id
"""


@bp.put("/api/appointments/<appointment_id>")
def book(appointment_id: str) -> Response:
    """Book an appointment or edit its interview. Returns 204."""
    key = _parse_appointment_id(appointment_id)
    student, interviewer = booking.parse(json_body.read())
    outcome = statements.execute_write(
        BOOK,
        {
            "appointment_id": key,
            "student": student,
            "interviewer": interviewer,
            **preconditions.read()._asdict(),
        },
    )
    if not outcome.appointment_exists:
        raise _unknown_appointment(appointment_id)
    if not outcome.interviewer_exists:
        raise InvalidFields(
            FieldError("#/interview/interviewer", "There is no interviewer with this id.")
        )
    if not outcome.transaction_id:
        raise _precondition_failed()
    return _no_content()


CANCEL = """
    WITH appointment AS (
      SELECT id
      FROM appointments
      WHERE id = %(appointment_id)s
    ), booked AS (
      SELECT id
      FROM interviews
      WHERE appointment_id = %(appointment_id)s
      FOR UPDATE
    ), cancelled AS (
      DELETE FROM interviews
      USING booked
      WHERE interviews.id = booked.id AND NOT %(must_be_free)s
      RETURNING interviews.id
    )
    SELECT
      EXISTS (SELECT FROM appointment) AS appointment_exists,
      EXISTS (SELECT FROM booked) AS was_booked,
      NOT EXISTS (SELECT FROM booked) AND EXISTS (
        SELECT FROM interviews WHERE appointment_id = %(appointment_id)s
      ) AS has_vanished,
      (SELECT pg_current_xact_id()::text FROM cancelled) AS transaction_id
"""


@bp.delete("/api/appointments/<appointment_id>")
def cancel(appointment_id: str) -> Response:
    """Cancel the interview of an appointment. Returns 204, even if there is none."""
    key = _parse_appointment_id(appointment_id)
    required = preconditions.read()
    outcome = statements.execute_write(
        CANCEL, {"appointment_id": key, "must_be_free": required.must_be_free}
    )
    if not outcome.appointment_exists:
        raise _unknown_appointment(appointment_id)
    is_refused = required.must_be_free if outcome.was_booked else required.must_be_booked
    if is_refused:
        raise _precondition_failed()
    return _no_content()


def _precondition_failed() -> PreconditionFailed:
    return PreconditionFailed(
        "The appointment is not in the state that the request requires. Nothing was changed."
    )


def _parse_appointment_id(text: str) -> int:
    key = booking.parse_id(text)
    if key is None:
        raise _unknown_appointment(text)
    return key


def _unknown_appointment(text: str) -> NotFound:
    return NotFound(f"There is no appointment {text[:40]!r}.")


def _no_content() -> Response:
    response = Response(status=204)
    del response.headers["Content-Type"]
    return response
