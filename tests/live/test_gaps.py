"""After the change listener was disconnected, every client has the right state."""

from __future__ import annotations

import contextlib
import json
import random
from collections.abc import Callable
from typing import Any

import pytest

from tests.support.database import LISTENERS, Sql
from tests.support.http import ask, booking
from tests.support.proxy import Proxy
from tests.support.server import Serve, Server
from tests.support.threads import Threads
from tests.support.waiting import wait_for
from tests.support.websocket import (
    KILL_LISTENERS,
    frame,
    listening,
    mark,
    open_socket,
    received,
    until,
)

GARBAGE = [
    "",
    "garbage",
    "[" * 7900,
    "{}",
    '{"transaction": -1}',
    '{"transaction": 99999999999999999999999}',
    '{"transaction": 1, "id": [], "interview": null}',
    '{"transaction": 1, "id": {}, "interview": 1}',
]


def test_foreign_notifications_are_ignored(server: Server, sql: Sql) -> None:
    with listening(server, sql) as clients:
        for payload in GARBAGE:
            sql("SELECT pg_notify('scheduler_changes', %s)", [payload])
        sql("INSERT INTO interviews VALUES (90, 'Ada', 2, 3)")
        for client in clients:
            assert client.recv(30) == frame(3, "Ada", 2)
        assert ask(server, "PUT", "/api/appointments/3", booking("Bob")).status == 204
        for client in clients:
            assert client.recv(30) == frame(3, "Bob")


def test_after_a_gap_clients_receive_what_changed_meanwhile(
    server: Server, sql: Sql, gap: Callable[[], Any]
) -> None:
    with listening(server, sql) as clients:
        with gap():
            sql("INSERT INTO interviews VALUES (90, 'Ada', 2, 3)")
            sql("UPDATE interviews SET student = 'Bob' WHERE id = 90")
            sql("DELETE FROM interviews WHERE appointment_id = 1")
        for client in clients:
            texts = sorted(client.recv(30) for _ in range(2))
            assert texts == sorted([frame(3, "Bob", 2), frame(1, None)])
        assert received(clients, sql) == []


def test_a_put_during_a_gap_is_broadcast_even_if_it_changed_nothing(
    server: Server, sql: Sql, gap: Callable[[], Any]
) -> None:
    with listening(server, sql) as clients:
        for _ in range(20):  # connections for both workers: during the gap nobody can open one
            assert ask(server, "PUT", "/api/appointments/2", booking("Bob")).status == 204
        received(clients, sql)
        with gap():
            put = booking("Archie Cohen")
            wait_for(lambda: ask(server, "PUT", "/api/appointments/1", put).status == 204)
        end = mark(sql)
        for client in clients:
            assert frame(1, "Archie Cohen") in until(client, end)


def test_a_thousand_changes_during_a_gap_reach_every_client(
    server: Server, sql: Sql, gap: Callable[[], Any]
) -> None:
    sql("INSERT INTO appointments SELECT n, 'x', 2 FROM generate_series(1001, 2000) n")
    with listening(server, sql) as clients:
        with gap():
            sql("INSERT INTO interviews SELECT id, 'Ada', 2, id FROM appointments WHERE id > 1000")
        for client in clients:
            texts = sorted(client.recv(30) for _ in range(1000))
            assert texts == sorted(frame(n, "Ada", 2) for n in range(1001, 2001))


def test_a_socket_that_opens_during_a_gap_receives_later_changes(
    server: Server, sql: Sql, gap: Callable[[], Any]
) -> None:
    with contextlib.ExitStack() as stack:
        with gap():
            clients = [stack.enter_context(open_socket(server)) for _ in range(6)]
            clients[0].send("ping")
            assert clients[0].recv(30) == '"pong"'
        for client in clients:
            end = mark(sql)
            until(client, end)
        assert ask(server, "PUT", "/api/appointments/2", booking("Ada")).status == 204
        for client in clients:
            until(client, frame(2, "Ada"))


def test_a_socket_that_opens_after_a_comparison_has_missed_nothing(
    serve: Serve, seeded: None, sql: Sql, proxy: Proxy
) -> None:
    server = serve(DATABASE_URL=proxy.url, WEB_CONCURRENCY="1")
    with open_socket(server) as witness:
        comparison = proxy.hold(b"student, interviewer_id, xmin")
        sql("SELECT pg_notify('scheduler_changes', '{\"transaction\": 9, \"compare\": true}')")
        assert comparison.reached.wait(5)
        assert ask(server, "GET", "/api/appointments").json["1"]["interview"]
        # No notification invalidates the response that is cached now.
        sql("BEGIN; SET LOCAL session_replication_role = replica")
        sql("DELETE FROM interviews WHERE appointment_id = 1; COMMIT")
        comparison.passes.set()
        until(witness, frame(1, None))
        with open_socket(server):
            assert ask(server, "GET", "/api/appointments").json["1"]["interview"] is None


def test_an_interview_does_not_go_back_to_an_older_state_when_the_listener_resumes(
    serve: Serve, seeded: None, sql: Sql
) -> None:
    server = serve('gunicorn "tests.support.late_notifications:create()"', WEB_CONCURRENCY="1")
    with open_socket(server) as client:
        sql(KILL_LISTENERS)
        wait_for(lambda: ("newer 2",) in sql("SELECT student FROM interviews"))
        wait_for(lambda: server.log.count("listening for changes") >= 2)
        sql("INSERT INTO interviews VALUES (90, 'end', 1, 2)")
        received = [
            text for text in until(client, frame(2, "end")) if '"id":1,' in text and ' 2"' in text
        ]
        assert received in ([frame(1, "newer 2")], [frame(1, "older 2"), frame(1, "newer 2")])


class Picture:
    """What a front end shows: what it fetched, then what it received."""

    def __init__(self, server: Server) -> None:
        self.socket = open_socket(server)
        self.appointments = ask(server, "GET", "/api/appointments").json

    def hear_until(self, end: str) -> None:
        with self.socket:
            for text in [*until(self.socket, end, 20), end]:
                message = json.loads(text)
                assert list(message) == ["type", "id", "interview"]
                self.appointments[str(message["id"])]["interview"] = message["interview"]


@pytest.mark.parametrize(
    "steps", [32, pytest.param(313, id="5,000 writes", marks=pytest.mark.slow)]
)
def test_every_client_has_the_right_state_after_many_writes_and_gaps(
    server: Server, serve: Serve, sql: Sql, steps: int
) -> None:
    other = serve()
    servers = [server, other]
    listeners = len(sql(f"SELECT FROM {LISTENERS}"))
    pictures = [Picture(servers[number % 2]) for number in range(20)]

    def write(number: int) -> None:
        choose = random.Random(number)
        for step in range(steps):
            path = f"/api/appointments/{choose.randint(1, 4)}"
            if choose.random() < 0.3:
                response = ask(choose.choice(servers), "DELETE", path)
            else:
                body = booking(f"{number} {step}", choose.randint(1, 2))
                response = ask(choose.choice(servers), "PUT", path, body)
            assert response.status == 204

    with Threads() as killing:
        killing.repeat(lambda: (sql(KILL_LISTENERS), killing.stopping.wait(0.15)))
        with Threads() as writing:
            for number in range(16):
                writing.start(write, number)
        killing.stopping.set()
        killing.join()
        # Every listener reconnects now, so that the mark arrives.
        wait_for(lambda: len(sql(f"SELECT FROM {LISTENERS}")) == listeners)
    end = mark(sql)
    for picture in pictures:
        picture.hear_until(end)
    stored = ask(server, "GET", "/api/appointments").json
    assert ask(other, "GET", "/api/appointments").json == stored
    assert len(stored) == 5
    for picture in pictures:
        assert picture.appointments == stored
