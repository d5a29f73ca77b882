"""`If-Match: *` and `If-None-Match: *`. Appointment 1 is booked, appointment 2 is free."""

from __future__ import annotations

import http.client
import json
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from flask.testing import FlaskClient

from tests.support.database import Sql, Tables
from tests.support.problems import assert_problem
from tests.support.seed import ADA, SEED, appointments
from tests.support.server import Server
from tests.support.waiting import wait_for

ANY = {"If-Match": "*"}


NONE = {"If-None-Match": "*"}


@pytest.mark.parametrize(
    ("method", "appointment", "headers", "status"),
    [
        ("PUT", 2, NONE, 204),
        ("PUT", 1, NONE, 412),
        ("PUT", 1, ANY, 204),
        ("PUT", 2, ANY, 412),
        ("PUT", 1, {**ANY, **NONE}, 412),
        ("PUT", 2, {**ANY, **NONE}, 412),
        ("PUT", 1, {"If-Match": '"a"'}, 412),
        ("PUT", 2, {"If-Match": '"a", W/"b"'}, 412),
        ("PUT", 1, {"If-None-Match": '"a", W/"b"'}, 204),
        ("PUT", 2, {"If-None-Match": '"a"'}, 204),
        ("PUT", 1, {**ANY, "If-None-Match": '"a"'}, 204),
        ("PUT", 2, {**NONE, "If-Match": '"a"'}, 412),
        ("DELETE", 1, ANY, 204),
        ("DELETE", 2, ANY, 412),
        ("DELETE", 2, NONE, 204),
        ("DELETE", 1, NONE, 412),
        ("DELETE", 1, {**ANY, **NONE}, 412),
        ("DELETE", 2, {**ANY, **NONE}, 412),
        ("DELETE", 1, {"If-Match": '"a"'}, 412),
        ("DELETE", 1, {"If-None-Match": '"a"'}, 204),
    ],
)
def test_a_conditional_write_requires_a_free_or_a_booked_appointment(
    client: FlaskClient, method: str, appointment: int, headers: dict[str, str], status: int
) -> None:
    body = {"interview": ADA} if method == "PUT" else None
    response = client.open(
        f"/api/appointments/{appointment}", method=method, json=body, headers=headers
    )
    assert response.status_code == status
    if status == 412:
        assert_problem(response.headers, response.data, 412)
        assert appointments(client) == SEED
    else:
        stored = ADA if method == "PUT" else None
        assert appointments(client) == {
            **SEED,
            str(appointment): {**SEED[str(appointment)], "interview": stored},
        }


@pytest.mark.parametrize("headers", [ANY, NONE, {**ANY, **NONE}, {"If-Match": '"a"'}], ids=str)
@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("PUT", "/api/appointments/99", {"interview": ADA}, 404),
        ("PUT", "/api/appointments/abc", {"interview": ADA}, 404),
        ("DELETE", "/api/appointments/99", None, 404),
        ("DELETE", "/api/appointments/abc", None, 404),
        ("PUT", "/api/appointments/1", {"interview": {**ADA, "interviewer": 99}}, 422),
        ("PUT", "/api/appointments/2", {"interview": {**ADA, "interviewer": 99}}, 422),
        ("PUT", "/api/appointments/1", {"interview": None}, 422),
        ("PUT", "/api/appointments/2", {"interview": {**ADA, "student": ""}}, 422),
    ],
)
def test_an_unknown_appointment_or_an_invalid_body_overrides_a_condition(
    client: FlaskClient, headers: dict[str, str], *, method: str, path: str, body: Any, status: int
) -> None:
    response = client.open(path, method=method, headers=headers, json=body)
    assert_problem(response.headers, response.data, status)
    assert response.status_code == status
    assert appointments(client) == SEED


def both_workers(server: Server) -> list[int]:
    """Wait for both of a server's workers; return their process ids."""
    wait_for(lambda: len(server.workers) == 2)
    return server.workers


def race(server: Server, method: str, path: str, headers: dict[str, str]) -> dict[str, int]:
    """Send 20 requests at once; return the status of each student's."""

    def write(student: str) -> int:
        body = json.dumps({"interview": {"student": student, "interviewer": 2}})
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
        try:
            connection.request(method, path, body, {"Content-Type": "application/json", **headers})
            return connection.getresponse().status
        finally:
            connection.close()

    both_workers(server)
    students = [f"Student {number}" for number in range(20)]
    with ThreadPoolExecutor(len(students)) as threads:
        return dict(zip(students, threads.map(write, students), strict=True))


def test_of_twenty_conditional_bookings_exactly_one_succeeds(
    client: FlaskClient, server: Server, sql: Sql
) -> None:
    for appointment in (2, 3, 4):
        statuses = race(server, "PUT", f"/api/appointments/{appointment}", NONE)
        assert sorted(statuses.values()) == [204] + [412] * 19
        (winner,) = (student for student, status in statuses.items() if status == 204)
        stored = sql("SELECT student FROM interviews WHERE appointment_id = %s", [appointment])
        assert stored == [(winner,)]


def test_of_twenty_conditional_cancels_exactly_one_succeeds(
    client: FlaskClient, server: Server, tables: Tables
) -> None:
    statuses = race(server, "DELETE", "/api/appointments/1", ANY)
    assert sorted(statuses.values()) == [204] + [412] * 19
    assert tables()["interviews"] == []


def test_without_a_condition_all_of_twenty_writes_succeed(
    client: FlaskClient, server: Server, sql: Sql
) -> None:
    statuses = race(server, "PUT", "/api/appointments/2", {})
    assert set(statuses.values()) == {204}
    ((student,),) = sql("SELECT student FROM interviews WHERE appointment_id = 2")
    assert student in statuses
    assert set(race(server, "DELETE", "/api/appointments/2", {}).values()) == {204}
