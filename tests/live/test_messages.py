"""What clients send: pings, messages that are ignored, frames that break the protocol."""

from __future__ import annotations

import contextlib
import re
import socket
import time
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.frames import CloseCode
from websockets.sync.client import ClientConnection

from tests.support.database import Sql
from tests.support.server import Server
from tests.support.waiting import wait_for
from tests.support.websocket import (
    closed_with,
    listening,
    open_socket,
    raw_socket,
    read_all,
    received,
)


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
def test_other_messages_are_ignored(server: Server, sql: Sql, message: Any) -> None:
    with listening(server, sql, 2) as clients:
        clients[0].send(message)
        clients[0].send("ping")
        assert clients[0].recv(30) == '"pong"'
        assert received(clients, sql) == []


def test_a_fragmented_ping_gets_a_pong(server: Server) -> None:
    with open_socket(server) as client:
        client.send(["pi", "", "ng"])
        assert client.recv(30) == '"pong"'
        client.send([b"pi", b"ng"])
        client.send(["ping", "ping"])
        client.send("ping")
        assert client.recv(30) == '"pong"'
        client.send(["p", "ing"])
        assert client.recv(30) == '"pong"'


def test_every_ping_gets_a_pong(server: Server) -> None:
    with open_socket(server) as client:
        for _ in range(90):
            client.send("ping")
        assert [client.recv(30) for _ in range(90)] == ['"pong"'] * 90


def test_a_client_that_sends_more_than_100_frames_in_ten_seconds_is_closed_with_1008(
    server: Server,
) -> None:
    with open_socket(server) as client:
        with contextlib.suppress(ConnectionClosed):
            for _ in range(150):
                client.send("ping")
                time.sleep(0.002)
        assert closed_with(client) == CloseCode.POLICY_VIOLATION


def test_a_protocol_ping_gets_a_protocol_pong(server: Server) -> None:
    with open_socket(server) as client:
        assert client.ping(b"abc").wait(30)


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
            client.recv(30)
        assert client.close_code == CloseCode.MESSAGE_TOO_BIG


def test_a_close_frame_gets_a_close_frame(server: Server) -> None:
    for code in (1000, 1001, 4000):
        with open_socket(server) as client:
            client.close(code)
            assert client.protocol.close_rcvd is not None
            assert client.protocol.close_rcvd.code == code


def test_the_log_has_the_close_code_of_a_socket(server: Server) -> None:
    def open_as(request_id: str) -> ClientConnection:
        return open_socket(server, additional_headers={"X-Request-ID": request_id})

    with open_as("client-says-why-1") as client:
        client.close(4001)
    with open_as("client-says-nothing") as client:
        client.socket.shutdown(socket.SHUT_RDWR)
    with open_as("message-too-large") as client, contextlib.suppress(ConnectionClosed):
        client.send("x" * 70_000)
        client.recv(30)
    closed = {"client-says-why-1": 4001, "client-says-nothing": 1006, "message-too-large": 1009}
    for request_id, code in closed.items():
        line = rf'msg="socket closed" code={code} .*request_id={request_id}\n'
        wait_for(lambda: re.search(line, server.log))  # noqa: B023


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
def test_a_client_that_breaks_the_protocol_is_closed_and_others_stay_open(
    server: Server, sql: Sql, data: bytes, code: int
) -> None:
    with listening(server, sql) as clients:
        with raw_socket(server.port) as connection:
            connection.sendall(data)
            opcode, reason = read_all(connection)[-1]
            assert (opcode, reason[:2]) == (8, code.to_bytes(2, "big"))
        assert received(clients, sql) == []
