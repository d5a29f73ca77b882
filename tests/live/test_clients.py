"""Clients that stop reading, reset their connection or fall silent; and `flask run`."""

from __future__ import annotations

import contextlib
import signal
import socket
import subprocess
import sys
import time

import pytest
from websockets.frames import CloseCode
from websockets.sync.client import ClientConnection

from tests.support import short_timeouts
from tests.support.database import Sql
from tests.support.http import ask, booking
from tests.support.processes import memory
from tests.support.project import PATH, ROOT
from tests.support.server import Serve, Server, accepts, free_port
from tests.support.waiting import wait_for
from tests.support.websocket import (
    HANDSHAKE,
    frame,
    frames_of,
    listening,
    open_socket,
    raw_socket,
    read_all,
    received,
)


def test_a_client_that_stops_reading_is_closed_delays_nobody_and_costs_little_memory(
    server: Server, sql: Sql
) -> None:
    sql("INSERT INTO appointments SELECT n, 'x', 2 FROM generate_series(1001, 1100) n")
    sql("INSERT INTO interviews SELECT id, 'x', 2, id FROM appointments WHERE id > 1000")

    def seconds_to_send(clients: list[ClientConnection], turn: int) -> float:
        started = time.monotonic()
        sql(
            "UPDATE interviews SET student = rpad(%s, 255, '☃') WHERE id BETWEEN 1001 AND 1100",
            [str(turn)],
        )
        assert len(received(clients, sql)) == 100
        return time.monotonic() - started

    with contextlib.ExitStack() as stack:
        with listening(server, sql) as clients:
            usual = sorted(seconds_to_send(clients, turn) for turn in range(10))
        not_reading = [stack.enter_context(raw_socket(server.port, 4096)) for _ in range(20)]
        clients = stack.enter_context(listening(server, sql))
        before = memory(server.workers)
        delays = sorted(seconds_to_send(clients, turn) for turn in range(100))
        assert delays[-5] < max(0.5, 3 * usual[-2])
        assert memory(server.workers) - before < 60_000_000
        for connection in not_reading:
            *_, (opcode, data) = read_all(connection)
            assert (opcode, data[:2]) == (8, CloseCode.TRY_AGAIN_LATER.to_bytes(2, "big"))


def test_a_client_that_resets_its_connection_affects_no_other(server: Server, sql: Sql) -> None:
    with listening(server, sql) as clients:
        for _ in range(20):
            with raw_socket(server.port) as connection:
                # With a linger time of 0, close() sends a reset.
                linger = (1).to_bytes(4, sys.byteorder) + bytes(4)
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        assert ask(server, "PUT", "/api/appointments/2", booking("Ada")).status == 204
        assert received(clients, sql) == [frame(2, "Ada")]


@pytest.fixture(scope="module")
def impatient(tables: None, serve_module: Serve) -> Server:
    """A server that soon pings its clients, and soon closes those that are silent."""
    return serve_module(short_timeouts.COMMAND, WEB_CONCURRENCY="1")


def test_an_idle_client_is_pinged(impatient: Server) -> None:
    with raw_socket(impatient.port) as connection:
        assert next(frames_of(connection)) == (9, b"")


def test_a_silent_client_is_closed_and_one_that_replies_to_pings_is_not(
    impatient: Server,
) -> None:
    with open_socket(impatient) as living, raw_socket(impatient.port) as silent:
        started = time.monotonic()
        frames = read_all(silent)
        assert time.monotonic() - started > short_timeouts.SILENCE_TIMEOUT - 0.5
        assert {opcode for opcode, _ in frames} <= {8, 9}
        living.send("ping")
        assert living.recv(30) == '"pong"'


@pytest.mark.slow
def test_the_real_server_pings_every_25_seconds(server: Server) -> None:
    with raw_socket(server.port) as connection:
        connection.settimeout(40)
        for _ in range(2):
            started = time.monotonic()
            assert next(frames_of(connection)) == (9, b"")
            assert 20 < time.monotonic() - started < 30
            connection.sendall(b"\x8a\x80\0\0\0\0")


PUT_WITHOUT_LENGTH = (
    b"PUT /api/appointments/2 HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n\r\n"
)


def test_under_flask_run_http_works_and_a_handshake_names_the_command_that_serves_it(
    environ: dict[str, str], seeded: None
) -> None:
    port = free_port()
    process = subprocess.Popen(
        ["flask", "run", "--port", str(port)],
        cwd=ROOT,
        env={**environ, "PATH": PATH},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        wait_for(lambda: accepts(port))
        assert ask(port, "PUT", "/api/appointments/2", booking("Ada")).status == 204
        assert ask(port, "GET", "/api/appointments").json["2"]["interview"]["student"] == "Ada"
        # Without a length, there is no body to wait for.
        with socket.create_connection(("127.0.0.1", port), 10) as connection:
            connection.sendall(PUT_WITHOUT_LENGTH)
            assert b" 400 " in connection.recv(4096)
        refusal = ask(port, "GET", "/", headers=HANDSHAKE)
        assert refusal.status == 501
        assert "bin/dev" in refusal.json["detail"]
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(30)
