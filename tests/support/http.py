"""A raw HTTP client: each request on a connection of its own, so that any worker may get it."""

from __future__ import annotations

import http.client
import json
import socket
import time
from collections.abc import Mapping
from contextlib import closing
from typing import Any, NamedTuple

from flask.testing import FlaskClient

from tests.support.server import Server


class Response(NamedTuple):
    """A response, and the seconds it took."""

    status: int
    headers: http.client.HTTPMessage
    body: bytes
    seconds: float

    @property
    def json(self) -> Any:
        return json.loads(self.body)


def ask(
    server: Server | FlaskClient | int,
    method: str,
    path: str,
    body: Any = None,
    headers: Mapping[str, str] | None = None,
) -> Response:
    """Send a request and return the response.

    `server` may be a port, or a client of an application in this process. A body that is
    not bytes is sent as JSON.
    """
    started = time.monotonic()
    sent = {"Content-Type": "application/json"} if body is not None else {}
    sent.update(headers or {})
    data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
    if isinstance(server, FlaskClient):
        returned = server.open(path, method=method, data=data, headers=sent)
        received = http.client.HTTPMessage()
        for name, value in returned.headers:
            received[name] = value
        return Response(returned.status_code, received, returned.data, time.monotonic() - started)
    port = server if isinstance(server, int) else server.port
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=30)) as connection:
        connection.request(method, path, data, sent)
        response = connection.getresponse()
        content = response.read()
    return Response(response.status, response.headers, content, time.monotonic() - started)


def send_bytes(server: Server, *pieces: bytes, ends: bool = False, seconds: float = 10) -> Response:
    """Send bytes as they are, each piece in a packet of its own, and return the response.

    With `ends`, the client then closes its direction of the connection.
    """
    started = time.monotonic()
    with socket.create_connection(("127.0.0.1", server.port), timeout=seconds) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for piece in pieces:
            connection.sendall(piece)
        if ends:
            connection.shutdown(socket.SHUT_WR)
        response = http.client.HTTPResponse(connection)
        response.begin()
        content = response.read()
    return Response(response.status, response.headers, content, time.monotonic() - started)


def raw_exchange(server: Server, request: bytes, *, ends: bool = False) -> bytes:
    """Send bytes on a connection of its own; return all bytes until the server closes it.

    With `ends`, the client first closes its direction of the connection.
    """
    with socket.create_connection(("127.0.0.1", server.port), timeout=30) as connection:
        connection.sendall(request)
        if ends:
            connection.shutdown(socket.SHUT_WR)
        return b"".join(iter(lambda: connection.recv(65536), b""))


def raw_get(*lines: bytes, path: bytes = b"/api/days") -> bytes:
    """Return the bytes of a GET with these header lines."""
    start = [b"GET " + path + b" HTTP/1.1", b"Host: x", b"Connection: close"]
    return b"\r\n".join([*start, *lines, b"", b""])


def booking(student: str, interviewer: int = 1) -> dict[str, Any]:
    """Return the body of a booking."""
    return {"interview": {"student": student, "interviewer": interviewer}}


BODY = booking("Ada", 2)
BODY_BYTES = b'{"interview":{"student":"Ada","interviewer":2}}'

# Conditions of a write: the appointment must be booked, or it must be free.
BOOKED = {"If-Match": "*"}
FREE = {"If-None-Match": "*"}
