"""Live updates: every change to an interview reaches every open WebSocket, in order.

The frames are compared as they come, from the real server unless said otherwise.
"""

from __future__ import annotations

import base64
import contextlib
import itertools
import json
import os
import random
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.frames import CloseCode
from websockets.sync.client import ClientConnection, connect
from werkzeug.serving import make_server

from app import create_app
from app.database import schema
from app.database.change_listener import Change
from app.database.pool import Connection
from app.live import websocket
from tests.support.database import LISTENERS, Sql, connected
from tests.support.http import ask, booking
from tests.support.processes import is_running, memory
from tests.support.project import ROOT
from tests.support.server import Serve, Server, accepts, free_port
from tests.support.threads import Threads
from tests.support.waiting import wait_for

KILL_LISTENERS = f"SELECT pg_terminate_backend(pid) FROM {LISTENERS}"
# A slot of the tests' own: an edit there comes after everything committed before it.
MARKED = 900
marks = itertools.count(1)


def frame(slot: int, student: str | None, interviewer: int | None = 1) -> str:
    """The text that tells of a slot."""
    interview = None
    if student is not None:
        interview = {"student": student, "interviewer": interviewer}
    message = {"type": "SET_INTERVIEW", "id": slot, "interview": interview}
    return json.dumps(message, separators=(",", ":"), ensure_ascii=False)


@pytest.fixture(scope="module")
def shared(database_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """The real server, one for the tests that do not harm it."""
    environ = {"DATABASE_URL": database_url, "APP_ENV": "test"}
    with create_app(environ).app_context():
        schema.reset()
    server = Server(
        {**environ, "PORT": str(free_port())}, tmp_path_factory.mktemp("server") / "log"
    )
    server.wait_until_it_listens()
    yield server
    server.stop()


@pytest.fixture
def seeded(environ: dict[str, str], sql: Sql) -> None:
    """A freshly seeded database, with the slot for marks."""
    with create_app(environ).app_context():
        schema.reset()
    sql(f"INSERT INTO appointments VALUES ({MARKED}, 'now', 1)")
    sql(f"INSERT INTO interviews VALUES (DEFAULT, 'mark', 1, {MARKED})")


@pytest.fixture
def server(shared: Server, seeded: None, sql: Sql) -> Server:
    """The real server on a freshly seeded database, when it has heard of that."""
    with listening(shared, sql):
        return shared


def mark(sql: Sql) -> str:
    """Make the change that ends what `told` collects; give its frame."""
    student = f"mark {next(marks)}"
    sql("UPDATE interviews SET student = %s WHERE appointment_id = %s", [student, MARKED])
    return frame(MARKED, student)


def until(client: ClientConnection, end: str, seconds: float = 5.0) -> list[str]:
    """The frames before this one."""
    frames: list[str] = []
    deadline = time.monotonic() + seconds
    while (text := str(client.recv(max(0.01, deadline - time.monotonic())))) != end:
        frames.append(text)
    return frames


@contextlib.contextmanager
def listening(server: Server | int, sql: Sql, count: int = 4) -> Iterator[list[ClientConnection]]:
    """Some open sockets, on whichever workers, that have heard all up to now."""
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(open_socket(server)) for _ in range(count)]
        # Twice: a worker that has just compared everything may tell the first one early.
        for _ in range(2):
            end = mark(sql)
            for client in clients:
                until(client, end)
        yield clients


def open_socket(server: Server | int, path: str = "/", **arguments: Any) -> ClientConnection:
    port = server if isinstance(server, int) else server.port
    client: ClientConnection = connect(
        f"ws://127.0.0.1:{port}{path}",
        **{"max_queue": None, "ping_interval": None, "close_timeout": 2, **arguments},
    )
    return client


def told(clients: list[ClientConnection], sql: Sql) -> list[str]:
    """What all the clients were told up to now: each the same, which is checked."""
    end = mark(sql)
    first, *others = [until(client, end) for client in clients]
    for other in others:
        assert other == first
    return first


# The handshake


@pytest.mark.parametrize(
    "path", ["/", "/nowhere", "/api/days", "/api/appointments/1", "/a//b/?x=1", "/%F0%9F%92%A9"]
)
def test_a_socket_opens_on_any_path(server: Server, path: str) -> None:
    with open_socket(server, path) as client:
        client.send("ping")
        assert client.recv(5) == '"pong"'


def test_a_plain_get_of_the_root_is_not_found(server: Server) -> None:
    answer = ask(server, "GET", "/")
    assert answer.status == 404
    assert answer.headers["Content-Type"] == "application/problem+json"


@pytest.mark.parametrize(
    ("asked", "agreed"),
    [(None, None), (["JSON"], "JSON"), (["json.v2", "JSON"], "json.v2"), (["b", "a", "c"], "b")],
)
def test_the_first_subprotocol_is_agreed_to(server: Server, asked: Any, agreed: str | None) -> None:
    with open_socket(server, subprotocols=asked) as client:
        assert client.subprotocol == agreed
        assert client.response is not None
        assert client.response.headers.get("Sec-WebSocket-Protocol") == agreed


def test_nothing_is_sent_as_a_greeting(serve: Serve, seeded: None) -> None:
    server = serve()
    for _ in range(4):
        with open_socket(server) as client:
            client.send("ping")
            assert client.recv(5) == '"pong"'


LISTED = "https://good.example"


@pytest.mark.parametrize(
    "origin",
    [
        "https://evil.example",
        "http://good.example",
        "https://good.example.evil.example",
        "https://evilgood.example",
        "https://sub.good.example",
        "https://good.example:8443",
        "https://good.example/",
        "https://GOOD.example",
        "null",
        "*",
        "",
    ],
)
def test_an_origin_off_the_list_may_not_open_a_socket(listed: Server, origin: str) -> None:
    with pytest.raises(InvalidStatus) as refused:
        open_socket(listed, additional_headers={"Origin": origin})
    response = refused.value.response
    assert response.status_code == 403
    assert response.headers["Content-Type"] == "application/problem+json"
    assert json.loads(response.body or b"")["status"] == 403


@pytest.fixture(scope="module")
def listed(shared: Server, database_url: str, tmp_path_factory: Any) -> Iterator[Server]:
    """A server that one origin may call."""
    environ = {"DATABASE_URL": database_url, "CORS_ORIGINS": f"{LISTED}, http://localhost:8000"}
    server = Server(
        {**environ, "PORT": str(free_port())}, tmp_path_factory.mktemp("server") / "log"
    )
    server.wait_until_it_listens()
    yield server
    server.stop()


@pytest.mark.parametrize("origin", [None, LISTED, "http://localhost:8000"])
def test_an_origin_on_the_list_or_none_at_all_may(listed: Server, origin: str | None) -> None:
    headers = {"Origin": origin} if origin else {}
    with open_socket(listed, additional_headers=headers) as client:
        client.send("ping")
        assert client.recv(5) == '"pong"'


def test_by_default_every_origin_may(server: Server) -> None:
    with open_socket(server, additional_headers={"Origin": "https://any.example"}) as client:
        client.send("ping")
        assert client.recv(5) == '"pong"'


KEY = base64.b64encode(os.urandom(16)).decode()
HANDSHAKE = {
    "Connection": "Upgrade",
    "Upgrade": "websocket",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": KEY,
}


@pytest.mark.parametrize(
    ("changed", "status"),
    [
        ({"Sec-WebSocket-Key": None}, 400),
        ({"Sec-WebSocket-Key": "short"}, 400),
        ({"Sec-WebSocket-Key": "ü"}, 400),
        ({"Sec-WebSocket-Version": None}, 400),
        ({"Sec-WebSocket-Version": "8"}, 400),
        ({"Sec-WebSocket-Version": "x"}, 400),
        ({"Connection": "close"}, 426),
        ({"Connection": None}, 426),
        ({"Upgrade": "h2c"}, 404),
        ({"Upgrade": None}, 404),
    ],
    ids=str,
)
def test_a_bad_handshake_is_refused(server: Server, changed: dict[str, Any], status: int) -> None:
    given = {name: value for name, value in {**HANDSHAKE, **changed}.items() if value is not None}
    answer = ask(server, "GET", "/", headers=given)
    assert answer.status == status
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert answer.json["status"] == answer.status


def test_a_handshake_in_another_version_is_told_which_one_is_spoken(server: Server) -> None:
    # RFC 6455, section 4.4
    answer = ask(server, "GET", "/", headers={**HANDSHAKE, "Sec-WebSocket-Version": "25"})
    assert answer.headers["Sec-Websocket-Version"] == "13"


def test_an_upgrade_of_another_method_is_answered_as_without_it(server: Server) -> None:
    assert ask(server, "POST", "/", headers=HANDSHAKE).status == 404
    assert ask(server, "PUT", "/api/appointments/2", booking("Ada"), HANDSHAKE).status == 204


# What is told


def test_a_write_tells_every_client_the_writer_included(server: Server, sql: Sql) -> None:
    with listening(server, sql, 6) as clients:
        assert ask(server, "PUT", "/api/appointments/3", booking("Ada", 2)).status == 204
        for client in clients:
            assert client.recv(5) == (
                '{"type":"SET_INTERVIEW","id":3,"interview":{"student":"Ada","interviewer":2}}'
            )
        assert ask(server, "PUT", "/api/appointments/3", booking("Bob")).status == 204
        assert ask(server, "DELETE", "/api/appointments/3").status == 204
        assert told(clients, sql) == [
            frame(3, "Bob"),
            '{"type":"SET_INTERVIEW","id":3,"interview":null}',
        ]


def test_a_write_that_stores_what_was_there_is_told(server: Server, sql: Sql) -> None:
    with listening(server, sql) as clients:
        for _ in range(3):
            assert ask(server, "PUT", "/api/appointments/1", booking("Archie Cohen")).status == 204
        assert told(clients, sql) == [frame(1, "Archie Cohen")] * 3


def test_what_is_told_is_what_is_stored_not_what_was_sent(server: Server, sql: Sql) -> None:
    body = {
        "id": 99,
        "time": "1pm",
        "interview": {"student": 'Zoë ☃ "\\\u2028', "interviewer": "2", "id": 7, "note": "x"},
        "type": "SOMETHING",
    }
    with listening(server, sql) as clients:
        assert ask(server, "PUT", "/api/appointments/2/", body).status == 204
        assert told(clients, sql) == [frame(2, 'Zoë ☃ "\\\u2028', 2)]


@pytest.mark.parametrize("student", ["\x01" * 255, '"' * 255, "𐀀" * 255], ids=ascii)
def test_the_longest_name_is_told(server: Server, sql: Sql, student: str) -> None:
    with listening(server, sql) as clients:
        assert ask(server, "PUT", "/api/appointments/2", booking(student)).status == 204
        (text,) = told(clients, sql)
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
        ("PUT", "/api/appointments/1", booking("Ada"), {"If-None-Match": "*"}, 412),
        ("PUT", "/api/appointments/2", booking("Ada"), {"If-Match": "*"}, 412),
        ("POST", "/api/appointments/1", booking("Ada"), {}, 405),
    ],
    ids=lambda request: f"{request[0]} {request[-1]}",
)
def test_what_changes_nothing_tells_nothing(server: Server, sql: Sql, request_: Any) -> None:
    *request, status = request_
    with listening(server, sql) as clients:
        assert ask(server, *request).status == status
        assert told(clients, sql) == []


def test_writes_that_fail_on_purpose_tell_nothing(serve: Serve, seeded: None, sql: Sql) -> None:
    server = serve(TEST_ERROR="true")
    with listening(server, sql) as clients:
        assert ask(server, "PUT", "/api/appointments/2", booking("Ada")).status == 500
        assert ask(server, "DELETE", "/api/appointments/1").status == 500
        assert told(clients, sql) == []


def test_of_bookings_racing_for_a_slot_only_the_winner_is_told(server: Server, sql: Sql) -> None:
    statuses: dict[str, int] = {}

    def book(student: str) -> None:
        free = {"If-None-Match": "*"}
        path = "/api/appointments/2"
        statuses[student] = ask(server, "PUT", path, booking(student), free).status

    with listening(server, sql) as clients:
        with Threads() as threads:
            for number in range(16):
                threads.start(book, f"student {number}")
        assert sorted(statuses.values()) == [204] + [412] * 15
        (winner,) = [student for student, status in statuses.items() if status == 204]
        assert told(clients, sql) == [frame(2, winner)]


def test_a_change_in_psql_is_told(server: Server, sql: Sql) -> None:
    with listening(server, sql) as clients:
        sql("INSERT INTO interviews VALUES (90, 'Ada', 2, 3)")
        sql("UPDATE interviews SET appointment_id = 4 WHERE id = 90")
        sql("BEGIN; UPDATE interviews SET student = 'Eve'; ROLLBACK")
        sql("UPDATE interviews SET student = 'Bob' WHERE id = 90")
        sql("DELETE FROM interviews WHERE id = 90")
        assert told(clients, sql) == [
            frame(3, "Ada", 2),
            frame(3, None),
            frame(4, "Ada", 2),
            frame(4, "Bob", 2),
            frame(4, None),
        ]


def test_a_cascade_and_a_truncate_tell_every_slot_concerned(server: Server, sql: Sql) -> None:
    with listening(server, sql) as clients:
        sql("INSERT INTO interviews VALUES (90, 'Ada', 2, 3), (91, 'Bob', 2, 4)")
        sql("DELETE FROM interviewers WHERE id = 2")
        sql("DELETE FROM appointments WHERE id = 1")
        assert sorted(told(clients, sql)) == sorted(
            [
                *[frame(3, "Ada", 2), frame(4, "Bob", 2)],
                *[frame(3, None), frame(4, None), frame(1, None)],
            ]
        )
        sql("INSERT INTO interviews VALUES (92, 'Cyd', 1, 3)")
        sql("TRUNCATE interviewers CASCADE")
        sql("INSERT INTO interviewers VALUES (1, 'x', 'x')")
        sql(f"INSERT INTO interviews VALUES (DEFAULT, 'mark', 1, {MARKED})")
        heard = told(clients, sql)
        assert heard[0] == frame(3, "Cyd")
        assert sorted(heard[1:3]) == sorted([frame(3, None), frame(MARKED, None)])
        assert heard[3:] == [frame(MARKED, "mark")]


def test_a_reset_is_told(server: Server, sql: Sql) -> None:
    with listening(server, sql) as clients:
        assert ask(server, "PUT", "/api/appointments/2", booking("Ada")).status == 204
        assert ask(server, "DELETE", "/api/appointments/1").status == 204
        assert ask(server, "GET", "/api/debug/reset").status == 200
        # The slot for marks is gone with the rest: the last state of each slot counts.
        for client in clients:
            picture: dict[int, Any] = {}
            wanted = {1: ("Archie Cohen"), 2: None, MARKED: None}
            deadline = time.monotonic() + 5
            while picture != wanted:
                message = json.loads(client.recv(max(0.01, deadline - time.monotonic())))
                interview = message["interview"]
                picture[message["id"]] = interview and interview["student"]


def test_two_servers_on_one_database_tell_each_others_changes(
    server: Server, serve: Serve, sql: Sql
) -> None:
    other = serve()
    with listening(server, sql) as here, listening(other, sql) as there:
        assert ask(other, "PUT", "/api/appointments/2", booking("Ada")).status == 204
        assert ask(server, "PUT", "/api/appointments/2", booking("Bob")).status == 204
        end = mark(sql)
        for client in here + there:
            heard = until(client, end)
            assert [text for text in heard if f'"id":{MARKED}' not in text] == [
                frame(2, "Ada"),
                frame(2, "Bob"),
            ]


@pytest.mark.parametrize("count", [600, 5000])
def test_a_large_transaction_reaches_every_client_that_reads(
    server: Server, sql: Sql, count: int
) -> None:
    sql(f"INSERT INTO appointments SELECT n, 'x', 2 FROM generate_series(1001, {1000 + count}) n")
    with listening(server, sql) as clients:
        sql(
            "INSERT INTO interviews"
            " SELECT id, 'Ada', 2, id FROM appointments WHERE id > 1000 ORDER BY id"
        )
        assert told(clients, sql) == [frame(1001 + n, "Ada", 2) for n in range(count)]


# What clients send


@pytest.mark.parametrize(
    "message",
    [
        "",
        "PING",
        " ping",
        "ping\n",
        "pingping",
        '"ping"',
        '{"type":"SET_INTERVIEW","id":1,"interview":null}',
        "x" * 65536,
        b"ping",
        b"",
        b"\xff\x00",
        b"\0" * 65536,
    ],
    ids=lambda message: repr(message[:12]),
)
def test_what_is_not_a_ping_is_ignored(server: Server, sql: Sql, message: Any) -> None:
    with listening(server, sql, 2) as clients:
        clients[0].send(message)
        clients[0].send("ping")
        assert clients[0].recv(5) == '"pong"'
        assert told(clients, sql) == []


def test_a_ping_in_fragments_is_answered(server: Server) -> None:
    with open_socket(server) as client:
        client.send(["pi", "", "ng"])
        assert client.recv(5) == '"pong"'
        client.send([b"pi", b"ng"])
        client.send(["ping", "ping"])
        client.send("ping")
        assert client.recv(5) == '"pong"'
        client.send(["p", "ing"])
        assert client.recv(5) == '"pong"'


def test_every_ping_is_answered(server: Server) -> None:
    with open_socket(server) as client:
        for _ in range(300):
            client.send("ping")
        assert [client.recv(5) for _ in range(300)] == ['"pong"'] * 300


def test_a_protocol_ping_is_answered(server: Server) -> None:
    with open_socket(server) as client:
        assert client.ping(b"abc").wait(5)


@pytest.mark.parametrize(
    "message",
    ["x" * 65537, b"x" * 65537, ["x" * 40_000, "x" * 40_000], "x" * 5_000_000],
    ids=["text", "binary", "fragments", "huge"],
)
def test_more_than_64_kib_closes_with_1009(server: Server, message: Any) -> None:
    with open_socket(server) as client:
        with contextlib.suppress(ConnectionClosed):
            client.send(message)
        with pytest.raises(ConnectionClosed):
            client.recv(5)
        assert client.close_code == CloseCode.MESSAGE_TOO_BIG


def test_a_close_is_answered(server: Server) -> None:
    for code in (1000, 1001, 4000):
        with open_socket(server) as client:
            client.close(code)
            assert client.protocol.close_rcvd is not None
            assert client.protocol.close_rcvd.code == code


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"\x81\x04ping", 1002),
        (b"\x83\x80\0\0\0\0", 1002),
        (b"\xc1\x80\0\0\0\0", 1002),
        (b"\x80\x80\0\0\0\0", 1002),
        (b"\x89\xfe\x00\x7e" + b"\0" * 130, 1002),
    ],
    ids=["not masked", "reserved opcode", "reserved bit", "nothing to continue", "long ping"],
)
def test_who_breaks_the_protocol_is_closed_and_nobody_else(
    server: Server, sql: Sql, data: bytes, code: int
) -> None:
    with listening(server, sql) as clients:
        with raw_socket(server.port) as connection:
            connection.sendall(data)
            opcode, reason = read_all(connection)[-1]
            assert (opcode, reason[:2]) == (8, code.to_bytes(2, "big"))
        assert told(clients, sql) == []


# Clients that misbehave, and the network's ends


@contextlib.contextmanager
def raw_socket(port: int, receive_buffer: int | None = None) -> Iterator[socket.socket]:
    """An open WebSocket whose client does nothing by itself."""
    with socket.socket() as connection:
        if receive_buffer:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        connection.settimeout(10)
        connection.connect(("127.0.0.1", port))
        lines = ["GET / HTTP/1.1", "Host: x", *(f"{k}: {v}" for k, v in HANDSHAKE.items())]
        connection.sendall(("\r\n".join(lines) + "\r\n\r\n").encode())
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            head += connection.recv(1)
        assert head.startswith(b"HTTP/1.1 101 ")
        yield connection


def frames_of(connection: socket.socket) -> Iterator[tuple[int, bytes]]:
    """The frames the server sends until it ends: opcode and data."""
    with connection.makefile("rb") as stream:
        while head := stream.read(2):
            length = head[1]
            if length == 126:
                length = int.from_bytes(stream.read(2), "big")
            elif length == 127:
                length = int.from_bytes(stream.read(8), "big")
            yield head[0] & 0x0F, stream.read(length)


def read_all(connection: socket.socket) -> list[tuple[int, bytes]]:
    frames = []
    with contextlib.suppress(ConnectionResetError):
        for one in frames_of(connection):
            frames.append(one)  # noqa: PERF402 -- what was read before a reset counts
    return frames


def test_a_client_that_stops_reading_is_closed_delays_nobody_and_costs_little(
    server: Server, sql: Sql
) -> None:
    sql("INSERT INTO appointments SELECT n, 'x', 2 FROM generate_series(1001, 1100) n")
    sql("INSERT INTO interviews SELECT id, 'x', 2, id FROM appointments WHERE id > 1000")
    with contextlib.ExitStack() as stack:
        deaf = [stack.enter_context(raw_socket(server.port, 4096)) for _ in range(20)]
        clients = stack.enter_context(listening(server, sql))
        before = memory(server.workers)
        delays = []
        for turn in range(100):
            started = time.monotonic()
            sql(
                "UPDATE interviews SET student = rpad(%s, 255, '☃') WHERE id BETWEEN 1001 AND 1100",
                [str(turn)],
            )
            assert len(told(clients, sql)) == 100
            delays.append(time.monotonic() - started)
        assert sorted(delays)[-5] < 0.5
        assert memory(server.workers) - before < 60_000_000
        for connection in deaf:
            *_, (opcode, data) = read_all(connection)
            assert (opcode, data[:2]) == (8, CloseCode.TRY_AGAIN_LATER.to_bytes(2, "big"))


def test_a_client_that_vanishes_harms_nobody(server: Server, sql: Sql) -> None:
    with listening(server, sql) as clients:
        for _ in range(20):
            with raw_socket(server.port) as connection:
                # Closing sends a reset then.
                linger = (1).to_bytes(4, sys.byteorder) + bytes(4)
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        assert ask(server, "PUT", "/api/appointments/2", booking("Ada")).status == 204
        assert told(clients, sql) == [frame(2, "Ada")]


@contextlib.contextmanager
def threaded(app: Flask) -> Iterator[int]:
    """The application under werkzeug's threaded server, in this process; gives its port."""
    # Else the first socket begins to listen, and is told all that is stored.
    app.extensions["changes"].start()
    wait_for(lambda: app.extensions["changes"].is_reliable)
    server = make_server("127.0.0.1", 0, app, threaded=True)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield server.port
    finally:
        app.extensions["live"].stop()
        server.shutdown()
        thread.join()
        server.server_close()
        app.extensions["changes"].stop()


def test_an_idle_client_is_pinged(app: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(websocket, "PING_EVERY", 0.5)
    with threaded(app) as port, raw_socket(port) as connection:
        assert next(frames_of(connection)) == (9, b"")


def test_a_client_gone_silent_is_dropped_and_one_that_answers_pings_stays(
    app: Flask, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(websocket, "PING_EVERY", 0.5)
    monkeypatch.setattr(websocket, "GONE_AFTER", 2.5)
    with threaded(app) as port, open_socket(port) as living, raw_socket(port) as silent:
        started = time.monotonic()
        frames = read_all(silent)
        assert 2 < time.monotonic() - started < 6
        assert {opcode for opcode, _ in frames} <= {8, 9}
        living.send("ping")
        assert living.recv(5) == '"pong"'


@pytest.mark.slow
def test_the_real_server_pings_every_25_seconds(server: Server) -> None:
    with raw_socket(server.port) as connection:
        connection.settimeout(40)
        for _ in range(2):
            started = time.monotonic()
            assert next(frames_of(connection)) == (9, b"")
            assert 20 < time.monotonic() - started < 30
            connection.sendall(b"\x8a\x80\0\0\0\0")


def test_a_threaded_server_tells_the_same(app: Flask, sql: Sql) -> None:
    sql(f"INSERT INTO appointments VALUES ({MARKED}, 'now', 1)")
    sql(f"INSERT INTO interviews VALUES (DEFAULT, 'mark', 1, {MARKED})")
    with threaded(app) as port:
        assert ask(port, "GET", "/").status == 404
        with listening(port, sql) as clients:
            clients[0].send("ping")
            assert clients[0].recv(5) == '"pong"'
            assert ask(port, "PUT", "/api/appointments/2", booking("Ada")).status == 204
            assert ask(port, "DELETE", "/api/appointments/2").status == 204
            assert told(clients, sql) == [frame(2, "Ada"), frame(2, None)]


def test_flask_run_tells_the_same(environ: dict[str, str], seeded: None, sql: Sql) -> None:
    port = free_port()
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    process = subprocess.Popen(
        ["flask", "run", "--port", str(port)],
        cwd=ROOT,
        env={**environ, "PATH": path},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        wait_for(lambda: accepts(port))
        with open_socket(port, subprotocols=["JSON"]) as client:
            assert client.subprotocol == "JSON"
            client.send("ping")
            assert client.recv(5) == '"pong"'
            with listening(port, sql) as clients:
                assert ask(port, "PUT", "/api/appointments/2", booking("Ada")).status == 204
                assert ask(port, "DELETE", "/api/appointments/1").status == 204
                assert told(clients, sql) == [frame(2, "Ada"), frame(1, None)]
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(10)


def closed_with(client: ClientConnection) -> int | None:
    """Read until the end; give the code of the close."""
    with contextlib.suppress(ConnectionClosed):
        while True:
            client.recv(10)
    return client.close_code


def test_the_log_says_with_which_code_a_socket_was_closed(server: Server) -> None:
    def open_as(request_id: str) -> ClientConnection:
        return open_socket(server, additional_headers={"X-Request-ID": request_id})

    with open_as("client-says-why-1") as client:
        client.close(4001)
    with open_as("client-says-nothing") as client:
        client.socket.shutdown(socket.SHUT_RDWR)
    with open_as("message-too-large") as client, contextlib.suppress(ConnectionClosed):
        client.send("x" * 70_000)
        client.recv(5)
    closed = {"client-says-why-1": 4001, "client-says-nothing": 1006, "message-too-large": 1009}
    for request_id, code in closed.items():
        line = rf'msg="socket closed" code={code} .*request_id={request_id}\n'
        wait_for(lambda: re.search(line, server.log), 5)  # noqa: B023


def test_stopping_closes_every_socket_with_1001_within_5_seconds(
    serve: Serve, seeded: None
) -> None:
    server = serve()
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(open_socket(server)) for _ in range(80)]
        # These do not answer the closing handshake.
        rude = [stack.enter_context(raw_socket(server.port)) for _ in range(20)]
        workers = server.workers
        assert len(workers) == 2
        assert server.stop() < 5
        assert not [pid for pid in workers if is_running(pid)]
        for client in clients:
            assert closed_with(client) == CloseCode.GOING_AWAY
        for connection in rude:
            assert read_all(connection)[-1] == (8, CloseCode.GOING_AWAY.to_bytes(2, "big"))


def test_a_socket_that_opens_while_the_server_stops_is_closed_with_1001(
    serve: Serve, gap: Callable[[], Any]
) -> None:
    codes: list[int | None] = []

    def open_one(server: Server) -> None:
        with open_socket(server) as client:
            codes.append(closed_with(client))

    with gap(), Threads() as threads:
        # A handshake waits for a feed that has never been up.
        server = serve()
        threads.start(open_one, server)
        time.sleep(1)
        assert server.stop() < 5
        threads.join()
    assert codes == [CloseCode.GOING_AWAY]


def test_a_reload_closes_every_socket_and_new_ones_open(serve: Serve, seeded: None) -> None:
    server = serve()
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(open_socket(server)) for _ in range(10)]
        server.process.send_signal(signal.SIGHUP)
        for client in clients:
            assert closed_with(client) == CloseCode.GOING_AWAY
        # Workers that leave refuse new ones; their successors do not.
        with wait_for(lambda: _opened(server)) as client:
            client.send("ping")
            assert client.recv(5) == '"pong"'


def _opened(server: Server) -> ClientConnection | None:
    with contextlib.suppress(InvalidStatus, EOFError, OSError):
        return open_socket(server)
    return None


# Gaps in the feed


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


@pytest.mark.parametrize("payload", GARBAGE, ids=lambda payload: payload[:60])
def test_what_somebody_else_notifies_harms_nothing(server: Server, sql: Sql, payload: str) -> None:
    with listening(server, sql) as clients:
        sql("SELECT pg_notify('scheduler_changes', %s)", [payload])
        sql("INSERT INTO interviews VALUES (90, 'Ada', 2, 3)")
        for client in clients:
            assert client.recv(5) == frame(3, "Ada", 2)
        assert ask(server, "PUT", "/api/appointments/3", booking("Bob")).status == 204
        for client in clients:
            assert client.recv(5) == frame(3, "Bob")


def test_after_a_gap_clients_are_told_what_changed_meanwhile(
    server: Server, sql: Sql, gap: Callable[[], Any]
) -> None:
    with listening(server, sql) as clients:
        with gap():
            sql("INSERT INTO interviews VALUES (90, 'Ada', 2, 3)")
            sql("UPDATE interviews SET student = 'Bob' WHERE id = 90")
            sql("DELETE FROM interviews WHERE appointment_id = 1")
        for client in clients:
            heard = sorted(client.recv(5) for _ in range(2))
            assert heard == sorted([frame(3, "Bob", 2), frame(1, None)])
        assert told(clients, sql) == []


def test_a_put_answered_in_a_gap_is_told_even_if_it_stored_what_was_there(
    server: Server, sql: Sql, gap: Callable[[], Any]
) -> None:
    with listening(server, sql) as clients:
        for _ in range(20):  # connections for both workers: in the gap nobody gets a new one
            assert ask(server, "PUT", "/api/appointments/2", booking("Bob")).status == 204
        told(clients, sql)
        with gap():
            put = booking("Archie Cohen")
            wait_for(lambda: ask(server, "PUT", "/api/appointments/1", put).status == 204)
        end = mark(sql)
        for client in clients:
            assert frame(1, "Archie Cohen") in until(client, end)


def test_a_thousand_changes_in_a_gap_reach_every_client_that_reads(
    server: Server, sql: Sql, gap: Callable[[], Any]
) -> None:
    sql("INSERT INTO appointments SELECT n, 'x', 2 FROM generate_series(1001, 2000) n")
    with listening(server, sql) as clients:
        with gap():
            sql("INSERT INTO interviews SELECT id, 'Ada', 2, id FROM appointments WHERE id > 1000")
        for client in clients:
            heard = sorted(client.recv(5) for _ in range(1000))
            assert heard == sorted(frame(n, "Ada", 2) for n in range(1001, 2001))


def test_a_socket_that_opens_in_a_gap_is_told_what_comes_after(
    server: Server, sql: Sql, gap: Callable[[], Any]
) -> None:
    with contextlib.ExitStack() as stack:
        with gap():
            clients = [stack.enter_context(open_socket(server)) for _ in range(6)]
            clients[0].send("ping")
            assert clients[0].recv(5) == '"pong"'
        for client in clients:
            end = mark(sql)
            until(client, end)
        assert ask(server, "PUT", "/api/appointments/2", booking("Ada")).status == 204
        for client in clients:
            until(client, frame(2, "Ada"))


def test_a_slot_does_not_go_back_to_an_older_state_when_the_feed_resumes(
    app: Flask, sql: Sql, database_url: str
) -> None:
    class Meddler:
        """Changes slot 1 twice between LISTEN and the question what is stored."""

        turn = 0

        def changed(self, change: Change) -> None:
            pass

        def resumed(self, connection: Connection) -> None:
            self.turn += 1
            with connected(database_url) as run:
                for state in ("older", "newer"):
                    run("UPDATE interviews SET student = %s", [f"{state} {self.turn}"])

    app.extensions["changes"]._subscribers.insert(0, Meddler())
    with threaded(app) as port, open_socket(port) as client:
        sql(KILL_LISTENERS)
        wait_for(lambda: sql("SELECT student FROM interviews") == [("newer 2",)])
        wait_for(lambda: app.extensions["changes"].is_reliable)
        sql("INSERT INTO interviews VALUES (90, 'end', 1, 2)")
        heard = [
            text
            for text in until(client, frame(2, "end"))
            if text.endswith(' 2","interviewer":1}}')
        ]
        assert heard in ([frame(1, "newer 2")], [frame(1, "older 2"), frame(1, "newer 2")])


class Picture:
    """What a front end shows: what it fetched, then what it was told."""

    def __init__(self, server: Server) -> None:
        self.socket = open_socket(server)
        self.slots = ask(server, "GET", "/api/appointments").json

    def hear_until(self, end: str) -> None:
        with self.socket:
            for text in [*until(self.socket, end, 20), end]:
                message = json.loads(text)
                assert list(message) == ["type", "id", "interview"]
                self.slots[str(message["id"])]["interview"] = message["interview"]


@pytest.mark.parametrize(
    "steps", [32, pytest.param(313, id="5,000 writes", marks=pytest.mark.slow)]
)
def test_every_picture_is_right_after_many_writes_with_gaps(
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
                answer = ask(choose.choice(servers), "DELETE", path)
            else:
                body = booking(f"{number} {step}", choose.randint(1, 2))
                answer = ask(choose.choice(servers), "PUT", path, body)
            assert answer.status == 204

    with Threads() as killing:
        killing.repeat(lambda: (sql(KILL_LISTENERS), killing.stopping.wait(0.15)))
        with Threads() as writing:
            for number in range(16):
                writing.start(write, number)
        killing.stopping.set()
        killing.join()
        # Now every listener comes back; nothing is in the way of the last two marks.
        wait_for(lambda: len(sql(f"SELECT FROM {LISTENERS}")) == listeners)
    first, last = mark(sql), mark(sql)
    assert first != last
    for picture in pictures:
        picture.hear_until(last)
    stored = ask(server, "GET", "/api/appointments").json
    assert ask(other, "GET", "/api/appointments").json == stored
    assert len(stored) == 5
    for picture in pictures:
        assert picture.slots == stored
