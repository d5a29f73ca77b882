"""The rules for a booking, which is the body of a PUT."""

from __future__ import annotations

import re
from typing import NamedTuple

from app.http.errors import FieldError, InvalidFields

# The largest INTEGER in PostgreSQL, and the length of the column `interviews.student`.
MAX_ID = 2**31 - 1
MAX_STUDENT = 255


class Booking(NamedTuple):
    """A valid booking."""

    student: str
    interviewer: int


def parse(body: object) -> Booking:
    """Return the booking in a parsed JSON body. Raises `InvalidFields`."""
    match body:
        case {"interview": {} as interview}:
            pass
        case _:
            raise InvalidFields(FieldError("#/interview", "Interview must be an object."))
    student = interview.get("student")
    interviewer = parse_id(interview.get("interviewer"))
    errors = []
    if detail := _student_error(student):
        errors.append(FieldError("#/interview/student", detail))
    if interviewer is None:
        detail = "Interviewer must be the id of an interviewer."
        errors.append(FieldError("#/interview/interviewer", detail))
    if errors or interviewer is None:
        raise InvalidFields(*errors)
    return Booking(student, interviewer)


def parse_id(value: object) -> int | None:
    """Return a positive integer, given as a number or as digits; None for any other value."""
    match value:
        case bool():
            return None
        case float() if value.is_integer():
            value = int(value)
        case str() if re.fullmatch(r"[0-9]{1,100}", value):
            value = int(value)
    return value if isinstance(value, int) and 0 < value <= MAX_ID else None


def _student_error(student: object) -> str | None:
    match student:
        case str() if not student.strip():
            return "Student must not be blank."
        case str() if len(student) > MAX_STUDENT:
            return f"Student must have at most {MAX_STUDENT} characters."
        case str() if re.search("[\0\ud800-\udfff]", student):
            return "Student contains a character that PostgreSQL cannot store."
        case str():
            return None
    return "Student must be a string."
