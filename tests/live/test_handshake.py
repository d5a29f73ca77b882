"""The opening handshake: paths, subprotocols, origins, and what is refused."""

from __future__ import annotations

import json
import socket
import time
from typing import Any

import pytest
from websockets.exceptions import InvalidStatus

from tests.support.http import ask, booking
from tests.support.pace import is_within
from tests.support.server import Serve, Server
from tests.support.websocket import (
    HANDSHAKE,
    open_socket,
)


@pytest.mark.parametrize(
    "path", ["/", "/nowhere", "/api/days", "/api/appointments/1", "/a//b/?x=1", "/%F0%9F%92%A9"]
)
def test_a_socket_opens_on_any_path(shared: Server, path: str) -> None:
    with open_socket(shared, path) as client:
        client.send("ping")
        assert client.recv(30) == '"pong"'


def test_a_plain_get_of_the_root_is_not_found(shared: Server) -> None:
    response = ask(shared, "GET", "/")
    assert response.status == 404
    assert response.headers["Content-Type"] == "application/problem+json"


@pytest.mark.parametrize(
    ("asked", "agreed"),
    [(None, None), (["JSON"], "JSON"), (["json.v2", "JSON"], "json.v2"), (["b", "a", "c"], "b")],
)
def test_the_first_subprotocol_is_selected(shared: Server, asked: Any, agreed: str | None) -> None:
    with open_socket(shared, subprotocols=asked) as client:
        assert client.subprotocol == agreed
        assert client.response is not None
        assert client.response.headers.get("Sec-WebSocket-Protocol") == agreed


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
def test_an_unlisted_origin_cannot_open_a_socket(listed: Server, origin: str) -> None:
    with pytest.raises(InvalidStatus) as refused:
        open_socket(listed, additional_headers={"Origin": origin})
    response = refused.value.response
    assert response.status_code == 403
    assert response.headers["Content-Type"] == "application/problem+json"
    assert json.loads(response.body or b"")["status"] == 403


@pytest.fixture(scope="module")
def listed(serve_module: Serve) -> Server:
    """A server that only two origins may call."""
    origins = f"{LISTED}, http://localhost:8000"
    return serve_module(CORS_ORIGINS=origins, WEB_CONCURRENCY="1")


@pytest.mark.parametrize("origin", [None, LISTED, "http://localhost:8000"])
def test_a_listed_origin_or_none_can_open_a_socket(listed: Server, origin: str | None) -> None:
    headers = {"Origin": origin} if origin else {}
    with open_socket(listed, additional_headers=headers) as client:
        client.send("ping")
        assert client.recv(30) == '"pong"'


def test_by_default_every_origin_can_open_a_socket(shared: Server) -> None:
    with open_socket(shared, additional_headers={"Origin": "https://any.example"}) as client:
        client.send("ping")
        assert client.recv(30) == '"pong"'


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
def test_a_bad_handshake_is_refused(shared: Server, changed: dict[str, Any], status: int) -> None:
    given = {name: value for name, value in {**HANDSHAKE, **changed}.items() if value is not None}
    response = ask(shared, "GET", "/", headers=given)
    assert response.status == status
    assert response.headers.get("Upgrade") == ("websocket" if status == 426 else None)
    assert response.headers["Content-Type"] == "application/problem+json"
    assert response.json["status"] == response.status


def test_a_handshake_in_another_version_learns_the_supported_one(shared: Server) -> None:
    # RFC 6455, section 4.4
    response = ask(shared, "GET", "/", headers={**HANDSHAKE, "Sec-WebSocket-Version": "25"})
    assert response.headers["Sec-Websocket-Version"] == "13"


def test_an_upgrade_of_another_method_is_ignored(shared: Server) -> None:
    assert ask(shared, "POST", "/", headers=HANDSHAKE).status == 404
    assert ask(shared, "PUT", "/api/appointments/2", booking("Ada"), HANDSHAKE).status == 204


def test_a_pipelined_handshake_does_not_delay_other_connections(shared: Server) -> None:
    get = b"GET /nowhere HTTP/1.1\r\nHost: x\r\n"
    handshake = "".join(f"{name}: {value}\r\n" for name, value in HANDSHAKE.items())
    sockets = []
    try:
        for _ in range(8):  # on both workers
            sockets.append(socket.create_connection(("127.0.0.1", shared.port), 10))
            sockets[-1].sendall(get + b"\r\n" + get + handshake.encode() + b"\r\n")
            received = b""
            while b" 101 " not in received:
                received += sockets[-1].recv(65536)
        started = time.monotonic()
        with socket.create_connection(("127.0.0.1", shared.port), 10) as connection:
            connection.sendall((get + b"\r\n") * 9 + get + b"Connection: close\r\n\r\n")
            assert b"".join(iter(lambda: connection.recv(65536), b"")).count(b" 404 ") == 10
        assert is_within(time.monotonic() - started, 2)
    finally:
        for each in sockets:
            each.close()
