"""`If-Match: *` and `If-None-Match: *`. Appointment 1 is booked, appointment 2 is free."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

from tests.support.database import Sql, Tables
from tests.support.http import BODY, BOOKED, FREE, ask, booking
from tests.support.problems import assert_problem
from tests.support.seed import ADA, SEED, appointments
from tests.support.server import Serve, Server

# No appointment is booked and free.
BOTH = {**BOOKED, **FREE}


@pytest.mark.parametrize(
    ("method", "appointment", "headers", "status"),
    [
        ("PUT", 2, FREE, 204),
        ("PUT", 1, FREE, 412),
        ("PUT", 1, BOOKED, 204),
        ("PUT", 2, BOOKED, 412),
        ("PUT", 1, BOTH, 412),
        ("PUT", 2, BOTH, 412),
        ("PUT", 1, {"If-Match": '"a"'}, 412),
        ("PUT", 2, {"If-Match": '"a", W/"b"'}, 412),
        ("PUT", 1, {"If-None-Match": '"a", W/"b"'}, 204),
        ("PUT", 2, {"If-None-Match": '"a"'}, 204),
        ("PUT", 1, {**BOOKED, "If-None-Match": '"a"'}, 204),
        ("PUT", 2, {**FREE, "If-Match": '"a"'}, 412),
        ("DELETE", 1, BOOKED, 204),
        ("DELETE", 2, BOOKED, 412),
        ("DELETE", 2, FREE, 204),
        ("DELETE", 1, FREE, 412),
        ("DELETE", 1, BOTH, 412),
        ("DELETE", 2, BOTH, 412),
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


@pytest.mark.parametrize(
    ("method", "appointment", "body", "headers", "status"),
    [
        ("PUT", "99", BODY, BOTH, 404),
        ("PUT", "99", BODY, {"If-Match": '"a"'}, 404),
        ("PUT", "abc", BODY, BOTH, 404),
        ("DELETE", "99", None, BOTH, 404),
        ("DELETE", "abc", None, BOTH, 404),
        ("PUT", "1", booking("Ada", 99), BOTH, 422),
        ("PUT", "2", booking("Ada", 99), BOTH, 422),
        ("PUT", "1", {"interview": None}, BOTH, 422),
        ("PUT", "2", booking(""), BOTH, 422),
    ],
)
def test_an_unknown_appointment_or_an_invalid_body_overrides_a_condition(  # noqa: PLR0917
    client: FlaskClient,
    method: str,
    appointment: str,
    body: Any,
    headers: dict[str, str],
    status: int,
) -> None:
    path = f"/api/appointments/{appointment}"
    response = client.open(path, method=method, json=body, headers=headers)
    assert_problem(response.headers, response.data, status)
    assert response.status_code == status
    assert appointments(client) == SEED


@pytest.fixture(scope="module")
def server(application: Flask, serve_module: Serve) -> Server:
    """The real server, with two workers."""
    return serve_module()


def race(server: Server, method: str, path: str, headers: dict[str, str]) -> dict[str, int]:
    """Send 20 requests at once, each for another student; return each one's status."""

    def write(student: str) -> int:
        return ask(server, method, path, booking(student), headers).status

    students = [f"Student {number}" for number in range(20)]
    with ThreadPoolExecutor(len(students)) as threads:
        return dict(zip(students, threads.map(write, students), strict=True))


def test_of_twenty_conditional_bookings_exactly_one_succeeds(
    client: FlaskClient, server: Server, sql: Sql
) -> None:
    for appointment in (2, 3, 4):
        statuses = race(server, "PUT", f"/api/appointments/{appointment}", FREE)
        assert sorted(statuses.values()) == [204] + [412] * 19
        (winner,) = (student for student, status in statuses.items() if status == 204)
        stored = sql("SELECT student FROM interviews WHERE appointment_id = %s", [appointment])
        assert stored == [(winner,)]


def test_of_twenty_conditional_cancels_exactly_one_succeeds(
    client: FlaskClient, server: Server, stored_rows: Tables
) -> None:
    statuses = race(server, "DELETE", "/api/appointments/1", BOOKED)
    assert sorted(statuses.values()) == [204] + [412] * 19
    assert stored_rows()["interviews"] == []


def test_without_a_condition_all_of_twenty_writes_succeed(
    client: FlaskClient, server: Server, sql: Sql
) -> None:
    statuses = race(server, "PUT", "/api/appointments/2", {})
    assert set(statuses.values()) == {204}
    ((student,),) = sql("SELECT student FROM interviews WHERE appointment_id = 2")
    assert student in statuses
    assert set(race(server, "DELETE", "/api/appointments/2", {}).values()) == {204}
