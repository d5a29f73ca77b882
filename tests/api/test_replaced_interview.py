"""Requests for an interview that somebody in psql replaces by another at the same time."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from flask import Flask

from tests.support.database import Sql, connected
from tests.support.http import BOOKED, FREE, ask, booking
from tests.support.server import Server
from tests.support.tables import counting_writes
from tests.support.waiting import wait_for

PATH = "/api/appointments/1"

DELETE = "DELETE FROM interviews WHERE appointment_id = 1"
REPLACE = (
    f"{DELETE}; INSERT INTO interviews (student, interviewer_id, appointment_id)"
    " VALUES ('Bob', 2, 1)"
)
WAITING = (
    "SELECT FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
)


@pytest.fixture
def send_while_locked(
    server: Server, app: Flask, sql: Sql, database_url: str
) -> Callable[..., int]:
    """Sends a request while a transaction in psql locks the row, and commits that.

    Returns the status of the request.
    """

    def send(statement: str, method: str, body: Any, headers: dict[str, str]) -> int:
        with connected(database_url) as psql, ThreadPoolExecutor(1) as threads:
            psql(f"BEGIN; {statement}")
            request = threads.submit(ask, server, method, PATH, body, headers)
            wait_for(lambda: sql(WAITING))
            psql("COMMIT")
            return int(request.result().status)

    return send


def students(sql: Sql) -> list[str]:
    return [name for (name,) in sql("SELECT student FROM interviews WHERE appointment_id = 1")]


@pytest.mark.parametrize(
    ("statement", "method", "headers", "status", "stored"),
    [
        # Replaced: always booked.
        (REPLACE, "PUT", BOOKED, 204, ["Ada"]),
        (REPLACE, "PUT", FREE, 412, ["Bob"]),
        (REPLACE, "PUT", {}, 204, ["Ada"]),
        (REPLACE, "DELETE", BOOKED, 204, []),
        (REPLACE, "DELETE", FREE, 412, ["Bob"]),
        (REPLACE, "DELETE", {}, 204, []),
        # Deleted: free in the end.
        (DELETE, "PUT", BOOKED, 412, []),
        (DELETE, "PUT", FREE, 204, ["Ada"]),
        (DELETE, "PUT", {}, 204, ["Ada"]),
        (DELETE, "DELETE", BOOKED, 412, []),
        (DELETE, "DELETE", FREE, 204, []),
        (DELETE, "DELETE", {}, 204, []),
    ],
)
def test_a_request_applies_to_the_state_after_the_other_commit(  # noqa: PLR0917
    send_while_locked: Callable[..., int],
    sql: Sql,
    statement: str,
    method: str,
    headers: dict[str, str],
    status: int,
    stored: list[str],
) -> None:
    body = booking("Ada") if method == "PUT" else None
    assert send_while_locked(statement, method, body, headers) == status
    assert students(sql) == stored


def test_a_repeated_statement_writes_its_row_once(
    send_while_locked: Callable[..., int], sql: Sql
) -> None:
    with counting_writes(sql) as writes:
        for headers in ({}, BOOKED):
            before = writes()
            assert send_while_locked(REPLACE, "PUT", booking("Ada"), headers) == 204
            # A deletion and an insertion in psql, and one update.
            assert writes() - before == 3
