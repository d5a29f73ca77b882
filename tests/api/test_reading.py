"""GET /api/appointments: every appointment, with its interview."""

from __future__ import annotations

from flask.testing import FlaskClient

from tests.support.database import Sql
from tests.support.seed import SEED, TWO, appointments


def test_lists_the_appointments_of_the_test_seed(client: FlaskClient) -> None:
    response = client.get("/api/appointments")
    assert (response.status_code, response.json) == (200, SEED)
    assert response.content_type == "application/json"


def test_keys_ascend_as_numbers(client: FlaskClient, sql: Sql) -> None:
    sql("INSERT INTO appointments (id, time, day_id) VALUES (100, 'a', 1), (10, 'b', 1)")
    sql("INSERT INTO appointments (id, time, day_id) VALUES (9, 'c', 2)")
    assert list(appointments(client)) == ["1", "2", "3", "4", "9", "10", "100"]


def test_an_interview_without_an_interviewer_is_listed_with_null(
    client: FlaskClient, sql: Sql
) -> None:
    sql("INSERT INTO interviews (student, interviewer_id, appointment_id) VALUES ('Old', NULL, 2)")
    old = {"student": "Old", "interviewer": None}
    assert appointments(client) == {**SEED, "2": {**TWO, "interview": old}}


def test_an_appointment_without_a_day_is_listed(client: FlaskClient, sql: Sql) -> None:
    sql("INSERT INTO appointments (id, time) VALUES (5, '9am')")
    assert appointments(client) == {**SEED, "5": {"id": 5, "time": "9am", "interview": None}}


def test_no_appointments_are_an_empty_object(client: FlaskClient, sql: Sql) -> None:
    sql("DELETE FROM days")
    response = client.get("/api/appointments")
    assert (response.status_code, response.data) == (200, b"{}")
