"""What a client reads if the body of its booking is invalid."""

from __future__ import annotations

from typing import Any

import pytest
from flask.testing import FlaskClient

STUDENT = "#/interview/student"
INTERVIEWER = "#/interview/interviewer"
NOT_AN_ID = "Interviewer must be the id of an interviewer."


@pytest.mark.parametrize(
    ("body", "errors"),
    [
        ({}, {"#/interview": "Interview must be an object."}),
        ({"interview": ["Ada", 2]}, {"#/interview": "Interview must be an object."}),
        (
            {"interview": {"student": " ", "interviewer": 2}},
            {STUDENT: "Student must not be blank."},
        ),
        (
            {"interview": {"student": 7, "interviewer": 2}},
            {STUDENT: "Student must be a string."},
        ),
        (
            {"interview": {"student": "x" * 256, "interviewer": 2}},
            {STUDENT: "Student must have at most 255 characters."},
        ),
        (
            {"interview": {"student": "\0", "interviewer": 2}},
            {STUDENT: "Student contains a character that PostgreSQL cannot store."},
        ),
        (
            {"interview": {"student": "Ada", "interviewer": "Tori"}},
            {INTERVIEWER: NOT_AN_ID},
        ),
        (
            {"interview": {"student": "Ada", "interviewer": 99}},
            {INTERVIEWER: "There is no interviewer with this id."},
        ),
        (
            {"interview": {}},
            {STUDENT: "Student must be a string.", INTERVIEWER: NOT_AN_ID},
        ),
    ],
)
def test_each_invalid_field_has_a_message_for_people(
    client: FlaskClient, body: Any, errors: dict[str, str]
) -> None:
    response = client.put("/api/appointments/2", json=body)
    assert response.status_code == 422
    assert response.json is not None
    assert response.json["errors"] == [
        {"pointer": pointer, "detail": detail} for pointer, detail in errors.items()
    ]
    assert response.json["detail"] == " ".join(errors.values())
