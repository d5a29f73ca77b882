"""The slots: GET /api/appointments, PUT and DELETE /api/appointments/<appointment_id>.

PUT books a slot or edits its interview, DELETE cancels it. The rules for a
booking stand here: what a body must hold, and what `If-Match: *` (only a booked
slot) and `If-None-Match: *` (only a free one) mean (RFC 9110, section 13.1).
"""

from __future__ import annotations

import re
import time
from typing import Any

from flask import Blueprint, Response, current_app, request
from werkzeug.exceptions import InternalServerError, NotFound, PreconditionFailed

from app.database import statements
from app.http import json_body
from app.http.errors import Misfit, Unprocessable

bp = Blueprint("appointments", __name__)

MAX_ID = 2**31 - 1
MAX_STUDENT = 255

SELECT_APPOINTMENTS = """
    SELECT coalesce(json_object_agg(slot.id, slot ORDER BY slot.id), '{}')::text
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
    ) AS slot
"""


@bp.get("/api/appointments")
def list_appointments() -> Response:
    """Answer with an object of all slots, keyed by id, ascending."""
    return statements.respond_with_json(SELECT_APPOINTMENTS)


# The locks keep slot and interviewer from being deleted between check and insert,
# and a booked slot booked until it has been edited.
BOOK = """
    WITH slot AS (
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
      SELECT %(student)s, interviewer.id, slot.id
      FROM slot
      CROSS JOIN interviewer
      WHERE NOT %(only_booked)s OR EXISTS (SELECT FROM booked)
      ON CONFLICT (appointment_id) DO UPDATE
      SET student = EXCLUDED.student, interviewer_id = EXCLUDED.interviewer_id
      WHERE NOT %(only_free)s
      RETURNING id
    )
    SELECT
      EXISTS (SELECT FROM slot) AS slot_exists,
      EXISTS (SELECT FROM interviewer) AS interviewer_exists,
      EXISTS (SELECT FROM stored) AS is_stored,
      pg_current_xact_id()::text AS transaction_id
"""


@bp.put("/api/appointments/<appointment_id>")
def book(appointment_id: str) -> Response:
    """Book a slot or edit its interview; 204."""
    _fail_on_purpose()
    slot = _slot_id(appointment_id)
    student, interviewer = _interview(json_body.read())
    only_booked, only_free = _preconditions()
    outcome = statements.change(
        BOOK,
        {
            "appointment_id": slot,
            "student": student,
            "interviewer": interviewer,
            "only_booked": only_booked,
            "only_free": only_free,
        },
    )
    if not outcome.slot_exists:
        raise _unknown_slot(appointment_id)
    if not outcome.interviewer_exists:
        raise Unprocessable(
            Misfit("#/interview/interviewer", "There is no interviewer with this id.")
        )
    if not outcome.is_stored:
        raise _precondition_failed()
    return _no_content()


CANCEL = """
    WITH slot AS (
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
      WHERE interviews.id = booked.id AND NOT %(only_free)s
    )
    SELECT
      EXISTS (SELECT FROM slot) AS slot_exists,
      EXISTS (SELECT FROM booked) AS was_booked,
      pg_current_xact_id()::text AS transaction_id
"""


@bp.delete("/api/appointments/<appointment_id>")
def cancel(appointment_id: str) -> Response:
    """Cancel a slot's interview; 204, also where there was none."""
    _fail_on_purpose()
    slot = _slot_id(appointment_id)
    only_booked, only_free = _preconditions()
    outcome = statements.change(CANCEL, {"appointment_id": slot, "only_free": only_free})
    if not outcome.slot_exists:
        raise _unknown_slot(appointment_id)
    is_refused = only_free if outcome.was_booked else only_booked
    if is_refused:
        raise _precondition_failed()
    return _no_content()


def _no_content() -> Response:
    time.sleep(current_app.config["SAVE_DELAY"])
    response = Response(status=204)
    del response.headers["Content-Type"]
    return response


def _fail_on_purpose() -> None:
    if current_app.config["TEST_ERROR"]:
        time.sleep(current_app.config["SAVE_DELAY"])
        raise InternalServerError("TEST_ERROR is set: every write fails.")


def _slot_id(text: str) -> int:
    slot = _integer(text)
    if slot is None:
        raise _unknown_slot(text)
    return slot


def _unknown_slot(text: str) -> NotFound:
    return NotFound(f"There is no appointment {text[:40]!r}.")


def _preconditions() -> tuple[bool, bool]:
    """What the request asks for: only a booked slot, only a free one.

    A slot has no entity tag: a list of tags in `If-None-Match` always passes, and
    one in `If-Match` never does, as if the slot had to be both.
    """
    only_booked = "If-Match" in request.headers
    names_tags = only_booked and not request.if_match.star_tag
    return only_booked, names_tags or request.if_none_match.star_tag


def _precondition_failed() -> PreconditionFailed:
    return PreconditionFailed(
        "The appointment is not in the state that the request asks for; nothing was changed."
    )


def _interview(body: object) -> tuple[str, int]:
    """The student and the interviewer's id from a body; raises `Unprocessable`."""
    match body:
        case {"interview": dict() as interview}:
            pass
        case _:
            raise Unprocessable(Misfit("#/interview", "interview must be an object."))
    student: Any = interview.get("student")
    interviewer = _integer(interview.get("interviewer"))
    misfits = []
    if complaint := _student_complaint(student):
        misfits.append(Misfit("#/interview/student", complaint))
    if interviewer is None:
        misfits.append(
            Misfit("#/interview/interviewer", "interviewer must be the id of an interviewer.")
        )
    if misfits or interviewer is None:
        raise Unprocessable(*misfits)
    return student, interviewer


def _student_complaint(student: object) -> str | None:
    match student:
        case str() if not student.strip():
            return "student must not be blank."
        case str() if len(student) > MAX_STUDENT:
            return f"student may have at most {MAX_STUDENT} characters."
        case str() if re.search("[\0\ud800-\udfff]", student):
            return "student holds a character that PostgreSQL cannot store."
        case str():
            return None
    return "student must be a string."


def _integer(value: object) -> int | None:
    """A positive integer from a number without a fraction or a string of digits."""
    match value:
        case bool():
            return None
        case float() if value.is_integer():
            value = int(value)
        case str() if re.fullmatch(r"[0-9]{1,100}", value):
            value = int(value)
    return value if isinstance(value, int) and 0 < value <= MAX_ID else None
