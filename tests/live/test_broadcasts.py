"""Every change to an interview reaches every open WebSocket, once, in order, as it is stored."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest

from tests.support.database import Sql
from tests.support.http import BOOKED, FREE, ask, booking
from tests.support.server import Serve, Server
from tests.support.threads import Threads
from tests.support.websocket import (
    MARKED,
    frame,
    listening,
    mark,
    received,
    until,
)


def test_a_write_is_broadcast_to_every_client_including_the_writer(
    server: Server, sql: Sql
) -> None:
    with listening(server, sql, 6) as clients:
        assert ask(server, "PUT", "/api/appointments/3", booking("Ada", 2)).status == 204
        for client in clients:
            assert client.recv(30) == (
                '{"type":"SET_INTERVIEW","id":3,"interview":{"student":"Ada","interviewer":2}}'
            )
        assert ask(server, "PUT", "/api/appointments/3", booking("Bob")).status == 204
        assert ask(server, "DELETE", "/api/appointments/3").status == 204
        assert received(clients, sql) == [
            frame(3, "Bob"),
            '{"type":"SET_INTERVIEW","id":3,"interview":null}',
        ]


def test_a_write_that_changes_nothing_is_broadcast(server: Server, sql: Sql) -> None:
    with listening(server, sql) as clients:
        for _ in range(3):
            assert ask(server, "PUT", "/api/appointments/1", booking("Archie Cohen")).status == 204
        assert received(clients, sql) == [frame(1, "Archie Cohen")] * 3


def test_a_broadcast_contains_what_is_stored_not_what_was_sent(server: Server, sql: Sql) -> None:
    body = {
        "id": 99,
        "time": "1pm",
        "interview": {"student": 'Zoë ☃ "\\\u2028', "interviewer": "2", "id": 7, "note": "x"},
        "type": "SOMETHING",
    }
    with listening(server, sql) as clients:
        assert ask(server, "PUT", "/api/appointments/2/", body).status == 204
        assert received(clients, sql) == [frame(2, 'Zoë ☃ "\\\u2028', 2)]


@pytest.mark.parametrize("student", ["\x01" * 255, '"' * 255, "𐀀" * 255], ids=ascii)
def test_the_longest_name_is_broadcast(server: Server, sql: Sql, student: str) -> None:
    with listening(server, sql) as clients:
        assert ask(server, "PUT", "/api/appointments/2", booking(student)).status == 204
        (text,) = received(clients, sql)
        assert json.loads(text) == json.loads(frame(2, student))


@pytest.mark.parametrize(
    "request_",
    [
        ("DELETE", "/api/appointments/2", None, {}, 204),
        ("DELETE", "/api/appointments/99", None, {}, 404),
        ("PUT", "/api/appointments/99", booking("Ada"), {}, 404),
        ("PUT", "/api/appointments/2", booking("Ada", 99), {}, 422),
        ("PUT", "/api/appointments/1", booking(" "), {}, 422),
        ("PUT", "/api/appointments/1", booking("\0"), {}, 422),
        ("PUT", "/api/appointments/1", b"{", {}, 400),
        ("PUT", "/api/appointments/1", booking("x" * 110_000), {}, 413),
        ("PUT", "/api/appointments/1", booking("Ada"), {"Content-Type": "text/plain"}, 415),
        ("PUT", "/api/appointments/1", booking("Ada"), FREE, 412),
        ("PUT", "/api/appointments/2", booking("Ada"), BOOKED, 412),
        ("POST", "/api/appointments/1", booking("Ada"), {}, 405),
    ],
    ids=lambda request: f"{request[0]} {request[-1]}",
)
def test_a_write_that_is_refused_is_not_broadcast(server: Server, sql: Sql, request_: Any) -> None:
    *request, status = request_
    with listening(server, sql) as clients:
        assert ask(server, *request).status == status
        assert received(clients, sql) == []


def test_writes_that_fail_on_purpose_are_not_broadcast(
    serve: Serve, seeded: None, sql: Sql
) -> None:
    server = serve(TEST_ERROR="true", WEB_CONCURRENCY="1")
    with listening(server, sql) as clients:
        assert ask(server, "PUT", "/api/appointments/2", booking("Ada")).status == 500
        assert ask(server, "DELETE", "/api/appointments/1").status == 500
        assert received(clients, sql) == []


def test_of_racing_bookings_only_the_successful_one_is_broadcast(server: Server, sql: Sql) -> None:
    statuses: dict[str, int] = {}

    def book(student: str) -> None:
        path = "/api/appointments/2"
        statuses[student] = ask(server, "PUT", path, booking(student), FREE).status

    with listening(server, sql) as clients:
        with Threads() as threads:
            for number in range(16):
                threads.start(book, f"student {number}")
        assert sorted(statuses.values()) == [204] + [412] * 15
        (winner,) = [student for student, status in statuses.items() if status == 204]
        assert received(clients, sql) == [frame(2, winner)]


def test_a_change_in_psql_is_broadcast(server: Server, sql: Sql) -> None:
    with listening(server, sql) as clients:
        sql("INSERT INTO interviews VALUES (90, 'Ada', 2, 3)")
        sql("UPDATE interviews SET appointment_id = 4 WHERE id = 90")
        sql("BEGIN; UPDATE interviews SET student = 'Eve'; ROLLBACK")
        sql("UPDATE interviews SET student = 'Bob' WHERE id = 90")
        sql("DELETE FROM interviews WHERE id = 90")
        assert received(clients, sql) == [
            frame(3, "Ada", 2),
            frame(3, None),
            frame(4, "Ada", 2),
            frame(4, "Bob", 2),
            frame(4, None),
        ]


def test_a_cascade_and_a_truncate_are_broadcast_for_every_appointment(
    server: Server, sql: Sql
) -> None:
    with listening(server, sql) as clients:
        sql("INSERT INTO interviews VALUES (90, 'Ada', 2, 3), (91, 'Bob', 2, 4)")
        sql("DELETE FROM interviewers WHERE id = 2")
        sql("DELETE FROM appointments WHERE id = 1")
        assert sorted(received(clients, sql)) == sorted(
            [
                *[frame(3, "Ada", 2), frame(4, "Bob", 2)],
                *[frame(3, None), frame(4, None), frame(1, None)],
            ]
        )
        sql("INSERT INTO interviews VALUES (92, 'Cyd', 1, 3)")
        sql("TRUNCATE interviewers CASCADE")
        for client in clients:
            assert client.recv(30) == frame(3, "Cyd")
            texts = [client.recv(30), client.recv(30)]
            assert set(texts) == {frame(3, None), frame(MARKED, None)}
        sql("INSERT INTO interviewers VALUES (1, 'x', 'x')")
        sql(f"INSERT INTO interviews VALUES (DEFAULT, 'mark', 1, {MARKED})")
        assert received(clients, sql) == [frame(MARKED, "mark")]


def test_a_reset_is_broadcast(server: Server, sql: Sql) -> None:
    with listening(server, sql) as clients:
        assert ask(server, "PUT", "/api/appointments/2", booking("Ada")).status == 204
        assert ask(server, "DELETE", "/api/appointments/1").status == 204
        assert ask(server, "GET", "/api/debug/reset").status == 200
        # The appointment for marks is gone too: the last state of each one counts.
        for client in clients:
            picture: dict[int, Any] = {}
            wanted = {1: ("Archie Cohen"), 2: None, MARKED: None}
            deadline = time.monotonic() + 5
            while picture != wanted:
                message = json.loads(client.recv(max(0.01, deadline - time.monotonic())))
                interview = message["interview"]
                picture[message["id"]] = interview and interview["student"]


def test_two_servers_on_one_database_broadcast_each_others_changes(
    server: Server, serve: Serve, sql: Sql
) -> None:
    other = serve(WEB_CONCURRENCY="1")
    with listening(server, sql) as here, listening(other, sql) as there:
        assert ask(other, "PUT", "/api/appointments/2", booking("Ada")).status == 204
        assert ask(server, "PUT", "/api/appointments/2", booking("Bob")).status == 204
        end = mark(sql)
        for client in here + there:
            texts = until(client, end)
            assert [text for text in texts if f'"id":{MARKED}' not in text] == [
                frame(2, "Ada"),
                frame(2, "Bob"),
            ]


@pytest.mark.parametrize("count", [600, 5000])
def test_a_large_transaction_reaches_every_client(server: Server, sql: Sql, count: int) -> None:
    sql(f"INSERT INTO appointments SELECT n, 'x', 2 FROM generate_series(1001, {1000 + count}) n")
    with listening(server, sql) as clients:
        sql(
            "INSERT INTO interviews"
            " SELECT id, 'Ada', 2, id FROM appointments WHERE id > 1000 ORDER BY id"
        )
        assert received(clients, sql) == [frame(1001 + n, "Ada", 2) for n in range(count)]
