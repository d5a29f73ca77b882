"""What the triggers of create.sql send, as any listener of the channel receives it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from flask import Flask

from app.database import schema
from tests.support.database import Sql, patient_connection, refill, reseed

Received = Callable[[], list[Any]]

BOOK_2 = "INSERT INTO interviews (student, interviewer_id, appointment_id) VALUES ('Ada', 2, 2)"
ADA = {"student": "Ada", "interviewer": 2}
ARCHIE = {"student": "Archie Cohen", "interviewer": 1}
COMPARE = {"compare": True}
TABLE = {"compare": False}


def changed(appointment_id: int, interview: Any) -> dict[str, Any]:
    return {"id": appointment_id, "interview": interview}


@pytest.fixture
def payloads(tables: None, database_url: str, sql: Sql) -> Iterator[Received]:
    """Returns the payloads received since the last call, without transaction, time and xmin."""
    refill(sql)
    with patient_connection(database_url) as connection, connection.cursor() as cursor:
        cursor.execute("LISTEN scheduler_changes")

        def receive() -> list[Any]:
            # PostgreSQL sends the notifications before its reply.
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
        (
            "UPDATE interviews SET interviewer_id = NULL",
            [changed(1, {"student": "Archie Cohen", "interviewer": None})],
        ),
        (
            f"{BOOK_2} ON CONFLICT (appointment_id) DO NOTHING; {BOOK_2}"
            " ON CONFLICT (appointment_id) DO UPDATE SET student = 'Bob'",
            [changed(2, ADA), changed(2, {"student": "Bob", "interviewer": 2})],
        ),
        (
            "CREATE TEMP TABLE new AS SELECT 2 AS appointment;"
            " MERGE INTO interviews USING new ON appointment_id = appointment"
            " WHEN NOT MATCHED THEN INSERT (student, interviewer_id, appointment_id)"
            " VALUES ('Ada', 2, appointment); DROP TABLE new",
            [changed(2, ADA)],
        ),
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
        (
            f"BEGIN; SAVEPOINT s; {BOOK_2}; ROLLBACK TO s; DELETE FROM interviews; COMMIT",
            [changed(1, None)],
        ),
    ],
)  # fmt: skip
def test_a_committed_change_sends_a_notification(
    payloads: Received, sql: Sql, statement: str, expected: list[Any]
) -> None:
    sql(statement)
    assert payloads() == expected


def test_a_change_that_is_undone_and_made_again_is_sent_each_time(
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
def test_a_cascading_delete_sends_every_interview(payloads: Received, sql: Sql, table: str) -> None:
    sql("INSERT INTO interviews VALUES (9, 'Ada', 1, 2)")
    assert payloads() == [changed(2, {"student": "Ada", "interviewer": 1})]
    sql(f"DELETE FROM {table}")
    received = payloads()
    deleted = [payload for payload in received if payload != TABLE]
    assert sorted(deleted, key=lambda payload: int(payload["id"])) == [
        changed(1, None),
        changed(2, None),
    ]
    assert TABLE in received


def test_triggers_work_with_an_empty_search_path(payloads: Received, sql: Sql) -> None:
    """pg_dump's output sets it."""
    sql("BEGIN; SET LOCAL search_path = ''")
    sql("UPDATE public.interviews SET student = 'Ada', interviewer_id = 2; COMMIT")
    assert payloads() == [changed(1, ADA)]
    sql("BEGIN; SET LOCAL search_path = ''; TRUNCATE public.interviews; COMMIT")
    assert payloads() == [COMPARE]


def test_the_longest_names_fit_into_a_payload(payloads: Received, sql: Sql) -> None:
    for student in ("\x01" * 255, '"' * 255, "𐀀" * 255, "\u2028" * 255):
        sql("UPDATE interviews SET student = %s", [student])
        assert payloads() == [changed(1, {"student": student, "interviewer": 1})]


def test_dropping_the_tables_asks_for_a_comparison(
    app: Flask, payloads: Received, sql: Sql
) -> None:
    sql((schema.SCHEMA / "drop.sql").read_text())
    assert payloads() == [COMPARE]
    reseed(app)
