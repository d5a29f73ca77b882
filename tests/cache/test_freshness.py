"""A change made elsewhere becomes visible in every worker within a second, a reset at once."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any

import pytest
from flask.testing import FlaskClient

from app.cache.entry import MAX_AGE
from tests.support.database import Sql, refill
from tests.support.http import Response, ask, booking
from tests.support.lists import PATHS
from tests.support.pace import is_within, within
from tests.support.server import Server
from tests.support.threads import Threads
from tests.support.waiting import wait_for


@pytest.fixture
def server(shared: Server, sql: Sql) -> Server:
    """A server on a database with the fresh seed."""
    refill(sql)
    return shared


def test_a_change_in_psql_is_visible_in_both_workers_when_its_notification_arrives(
    server: Server, sql: Sql
) -> None:

    def shown() -> set[str]:
        responses = [ask(server, "GET", "/api/appointments").json for _ in range(5)]
        return {appointments["1"]["interview"]["student"] for appointments in responses}

    delays = []
    for turn in range(10):
        # The write makes both workers query now, so that their responses expire a second later.
        assert ask(server, "PUT", "/api/appointments/1", booking("x")).status == 204
        assert shown() == {"x"}
        sql("UPDATE interviews SET student = %s WHERE appointment_id = 1", [str(turn)])
        changed_at = time.monotonic()
        wait_for(lambda: shown() == {str(turn)}, MAX_AGE)  # noqa: B023
        delays.append(time.monotonic() - changed_at)
    assert is_within(statistics.median(delays), MAX_AGE / 2)


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE days SET name = 'x'",
        "DELETE FROM appointments WHERE id = 4",
        "DELETE FROM available_interviewers WHERE day_id = 1",
        "TRUNCATE available_interviewers",
        "INSERT INTO days (name) VALUES ('x')",
        "ALTER TABLE days ALTER name TYPE text USING 'x'",
        "BEGIN; ALTER TABLE days DISABLE TRIGGER USER; UPDATE days SET name = 'x';"
        " ALTER TABLE days ENABLE TRIGGER USER; COMMIT",
    ],
)
def test_a_change_of_any_table_in_psql_is_visible_within_a_second(
    cached: FlaskClient, sql: Sql, statement: str
) -> None:
    before = cached.get("/api/days").data
    sql(statement)
    with within(1):
        wait_for(lambda: cached.get("/api/days").data != before)


def test_a_reset_is_visible_at_once_in_both_workers(server: Server) -> None:
    assert ask(server, "GET", "/api/debug/reset").status == 200
    seeded = [ask(server, "GET", path).json for path in PATHS]
    for _ in range(10):
        assert ask(server, "PUT", "/api/appointments/2", booking("Ada")).status == 204
        for path in PATHS * 2:
            ask(server, "GET", path)
        assert ask(server, "GET", "/api/debug/reset").status == 200
        for _ in range(4):
            assert [ask(server, "GET", path).json for path in PATHS] == seeded


def test_while_the_listener_is_down_reads_are_correct(
    server: Server, sql: Sql, gap: Callable[[], Any]
) -> None:

    def student() -> Any:
        response = wait_for(lambda: _ok(ask(server, "GET", "/api/appointments")))
        return response.json["1"]["interview"]["student"]

    # Open connections in both workers: during the gap, none can be opened.
    with Threads() as threads:
        for _ in range(24):
            threads.start(ask, server, "PUT", "/api/appointments/2", booking("Bob"))
    with gap():
        for turn in range(4):
            sql("UPDATE interviews SET student = %s WHERE appointment_id = 1", [f"psql {turn}"])
            with within(1):
                wait_for(lambda: student() == f"psql {turn}")  # noqa: B023
            put = booking(f"put {turn}")
            wait_for(lambda: ask(server, "PUT", "/api/appointments/1", put).status == 204)  # noqa: B023
            assert [student() for _ in range(4)] == [f"put {turn}"] * 4
    sql("UPDATE interviews SET student = 'after' WHERE appointment_id = 1")
    with within(1):
        wait_for(lambda: [student() for _ in range(4)] == ["after"] * 4)


def _ok(response: Response) -> Response | None:
    assert response.status in {200, 503}
    return response if response.status == 200 else None
