"""GET /api/days: every day, with its appointments, its interviewers and its free spots."""

from __future__ import annotations

from flask.testing import FlaskClient

from tests.support.database import Sql

MONDAY = {"id": 1, "name": "Monday", "appointments": [1, 2], "interviewers": [1, 2], "spots": 1}
TUESDAY = {"id": 2, "name": "Tuesday", "appointments": [3, 4], "interviewers": [1, 2], "spots": 2}


def test_lists_the_days_of_the_test_seed(client: FlaskClient) -> None:
    response = client.get("/api/days")
    assert (response.status_code, response.json) == (200, [MONDAY, TUESDAY])


def test_a_day_without_appointments_or_interviewers_is_listed(
    client: FlaskClient, sql: Sql
) -> None:
    sql("INSERT INTO days (name) VALUES ('Sunday')")
    sunday = {"id": 3, "name": "Sunday", "appointments": [], "interviewers": [], "spots": 0}
    assert client.get("/api/days").json == [MONDAY, TUESDAY, sunday]


def test_lists_ascend_and_hold_no_duplicates(client: FlaskClient, sql: Sql) -> None:
    sql(
        "INSERT INTO available_interviewers (day_id, interviewer_id)"
        " VALUES (1, 2), (1, 1), (1, NULL)"
    )
    sql("INSERT INTO appointments (id, time, day_id) VALUES (90, '5pm', 1), (80, '4pm', 1)")
    days = client.get("/api/days").json
    assert days == [{**MONDAY, "appointments": [1, 2, 80, 90], "spots": 3}, TUESDAY]
