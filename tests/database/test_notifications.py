"""What the triggers of create.sql notify of, as any listener of the channel receives it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any

import pytest
from flask import Flask
from websockets.sync.client import connect

from app.database import schema
from app.database.connection import connect as connect_to_database
from tests.support.database import Sql, connected
from tests.support.http import ask, booking
from tests.support.server import Server
from tests.support.waiting import wait_for

Received = Callable[[], list[Any]]

BOOK_2 = "INSERT INTO interviews (student, interviewer_id, appointment_id) VALUES ('Ada', 2, 2)"
ADA = {"student": "Ada", "interviewer": 2}
ARCHIE = {"student": "Archie Cohen", "interviewer": 1}
COMPARE = {"compare": True}
TABLE = {"compare": False}


def changed(appointment_id: int, interview: Any) -> dict[str, Any]:
    return {"id": appointment_id, "interview": interview}


@pytest.fixture
def payloads(app: Flask, sql: Sql) -> Iterator[Received]:
    """The payloads received since the last call, without their transaction and time."""
    with closing(connect_to_database(app.config["DATABASE"], statement_timeout=30)) as connection:
        connection.deadline += 3600
        with connection.cursor() as cursor:
            cursor.execute("LISTEN scheduler_changes")

            def receive() -> list[Any]:
                # PostgreSQL sends what has been committed before it answers.
                cursor.execute("SELECT 1")
                received = [json.loads(notify.payload) for notify in connection.notifies]
                connection.notifies.clear()
                for payload in received:
                    assert isinstance(payload.pop("transaction"), int)
                    assert (payload.pop("at", None) is None) == ("id" not in payload)
                    assert (payload.pop("xmin", None) is None) == (not payload.get("interview"))
                return received

            receive()
            yield receive


@pytest.mark.parametrize(
    ("statement", "expected"),
    [
        (BOOK_2, [changed(2, ADA)]),
        ("UPDATE interviews SET student = 'Ada', interviewer_id = 2", [changed(1, ADA)]),
        ("UPDATE interviews SET student = student", [changed(1, ARCHIE)]),
        ("DELETE FROM interviews", [changed(1, None)]),
        ("DELETE FROM interviews WHERE id = 99", []),
        (
            "UPDATE interviews SET appointment_id = 2",
            [changed(1, None), changed(2, ARCHIE)],
        ),
        ("UPDATE interviews SET appointment_id = NULL", [changed(1, None)]),
        ("INSERT INTO interviews VALUES (9, 'Ada', 1, NULL)", []),
        ("TRUNCATE interviews", [COMPARE]),
        ("TRUNCATE interviews CASCADE", [COMPARE]),
        ("INSERT INTO days (name) VALUES ('Sunday')", [TABLE]),
        ("UPDATE appointments SET time = '2pm' WHERE id = 1", [TABLE]),
        ("UPDATE interviewers SET avatar = ''", [TABLE]),
        ("DELETE FROM available_interviewers", [TABLE]),
        ("TRUNCATE available_interviewers", [TABLE]),
        # One transaction; equal payloads are sent once.
        (f"BEGIN; {BOOK_2}; {'TRUNCATE interviews; ' * 2} COMMIT", [changed(2, ADA), COMPARE]),
        (f"BEGIN; {BOOK_2}; ROLLBACK; BEGIN; TRUNCATE interviews; ROLLBACK", []),
    ],
)  # fmt: skip
def test_a_committed_change_is_notified_of(
    payloads: Received, sql: Sql, statement: str, expected: list[Any]
) -> None:
    sql(statement)
    assert payloads() == expected


def test_a_change_that_is_undone_and_made_again_is_notified_of_each_time(
    payloads: Received, sql: Sql
) -> None:
    sql(f"BEGIN; {BOOK_2}; DELETE FROM interviews WHERE appointment_id = 2; {BOOK_2}; COMMIT")
    assert payloads() == [changed(2, ADA), changed(2, None), changed(2, ADA)]


@pytest.mark.parametrize("table", ["interviewers", "appointments", "days"])
def test_a_cascading_truncate_asks_for_a_comparison(
    payloads: Received, sql: Sql, table: str
) -> None:
    sql(f"TRUNCATE {table} CASCADE")
    received = payloads()
    assert COMPARE in received
    assert {payload["compare"] for payload in received} == {True, False}


@pytest.mark.parametrize("table", ["interviewers", "appointments", "days"])
def test_a_cascading_delete_notifies_of_every_interview(
    payloads: Received, sql: Sql, table: str
) -> None:
    sql(f"DELETE FROM {table} WHERE id = 1")
    received = payloads()
    assert changed(1, None) in received
    assert all(payload in (changed(1, None), TABLE) for payload in received)


def test_a_dump_is_restored_with_an_empty_search_path(payloads: Received, sql: Sql) -> None:
    sql("BEGIN; SET LOCAL search_path = ''")
    sql("UPDATE public.interviews SET student = 'Ada', interviewer_id = 2; COMMIT")
    assert payloads() == [changed(1, ADA)]
    sql("BEGIN; SET LOCAL search_path = ''; TRUNCATE public.interviews; COMMIT")
    assert payloads() == [COMPARE]


def test_the_longest_names_fit_into_a_payload(payloads: Received, sql: Sql) -> None:
    for student in ("\x01" * 255, '"' * 255, "𐀀" * 255, "\u2028" * 255):
        sql("UPDATE interviews SET student = %s", [student])
        assert payloads() == [changed(1, {"student": student, "interviewer": 1})]


def test_dropping_the_tables_asks_for_a_comparison(payloads: Received, sql: Sql) -> None:
    sql((schema.SCHEMA / "drop.sql").read_text())
    assert payloads() == [COMPARE]


def test_a_truncate_whose_transaction_does_not_see_the_booking_is_seen_by_all(
    serve: Callable[..., Server], app: Flask, sql: Sql, database_url: str
) -> None:
    server = serve()
    with (
        connect(f"ws://127.0.0.1:{server.port}") as client,
        connected(database_url) as psql,
    ):
        psql("BEGIN ISOLATION LEVEL REPEATABLE READ")
        assert psql("SELECT count(*) FROM interviews") == [(1,)]
        assert ask(server, "PUT", "/api/appointments/2", booking("Ada")).status == 204
        assert json.loads(client.recv(5))["interview"] == {"student": "Ada", "interviewer": 1}
        psql("TRUNCATE interviews")
        psql("COMMIT")
        cancelled = {json.loads(client.recv(5))["id"] for _ in range(2)}
        assert cancelled == {1, 2}
        wait_for(
            lambda: (
                not any(
                    appointment["interview"]
                    for appointment in ask(server, "GET", "/api/appointments").json.values()
                )
            ),
            1,
        )
