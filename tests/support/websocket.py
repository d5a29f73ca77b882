"""WebSocket clients, and the frames that they receive."""

from __future__ import annotations

import base64
import contextlib
import itertools
import json
import os
import socket
import time
from collections.abc import Iterator
from typing import Any

from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from tests.support.database import LISTENERS, Sql
from tests.support.server import Server

KILL_LISTENERS = f"SELECT pg_terminate_backend(pid) FROM {LISTENERS}"
# An appointment that only the tests edit. The frame of such an edit follows the frames
# of all earlier changes.
MARKED = 900
marks = itertools.count(1)


def frame(appointment: int, student: str | None, interviewer: int | None = 1) -> str:
    """Return the text of the frame for an appointment's interview."""
    interview = None
    if student is not None:
        interview = {"student": student, "interviewer": interviewer}
    message = {"type": "SET_INTERVIEW", "id": appointment, "interview": interview}
    return json.dumps(message, separators=(",", ":"), ensure_ascii=False)


def mark(sql: Sql) -> str:
    """Make a change that marks the end of what `received` collects; return its frame."""
    student = f"mark {next(marks)}"
    sql("UPDATE interviews SET student = %s WHERE appointment_id = %s", [student, MARKED])
    return frame(MARKED, student)


def until(client: ClientConnection, end: str, seconds: float = 30.0) -> list[str]:
    """Return the frames before this one."""
    frames: list[str] = []
    deadline = time.monotonic() + seconds
    while (text := str(client.recv(max(0.01, deadline - time.monotonic())))) != end:
        frames.append(text)
    return frames


@contextlib.contextmanager
def listening(server: Server | int, sql: Sql, count: int = 4) -> Iterator[list[ClientConnection]]:
    """Open some sockets, and wait until they have received all changes up to now."""
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(open_socket(server)) for _ in range(count)]
        # Two marks: a comparison may send the first one before earlier changes.
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


def received(clients: list[ClientConnection], sql: Sql) -> list[str]:
    """Return the frames that all clients received up to now; they must be the same."""
    end = mark(sql)
    first, *others = [until(client, end) for client in clients]
    for other in others:
        assert other == first
    return first


KEY = base64.b64encode(os.urandom(16)).decode()
HANDSHAKE = {
    "Connection": "Upgrade",
    "Upgrade": "websocket",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": KEY,
}


@contextlib.contextmanager
def raw_socket(port: int, receive_buffer: int | None = None) -> Iterator[socket.socket]:
    """Open a WebSocket whose client sends and reads nothing by itself."""
    with socket.socket() as connection:
        if receive_buffer:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        connection.settimeout(30)
        connection.connect(("127.0.0.1", port))
        lines = ["GET / HTTP/1.1", "Host: x", *(f"{k}: {v}" for k, v in HANDSHAKE.items())]
        connection.sendall(("\r\n".join(lines) + "\r\n\r\n").encode())
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            head += connection.recv(1)
        assert head.startswith(b"HTTP/1.1 101 ")
        yield connection


def frames_of(connection: socket.socket) -> Iterator[tuple[int, bytes]]:
    """Yield the frames that the server sends until the end: opcode and data."""
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


def closed_with(client: ClientConnection) -> int | None:
    """Read until the end; return the close code."""
    with contextlib.suppress(ConnectionClosed):
        while True:
            client.recv(30)
    return client.close_code
