"""How sockets are closed, and with which code, when the server stops or reloads."""

from __future__ import annotations

import contextlib
import signal
import time
from collections.abc import Callable
from typing import Any

from websockets.exceptions import InvalidHandshake
from websockets.frames import CloseCode
from websockets.sync.client import ClientConnection

from tests.support.pace import is_within
from tests.support.processes import is_running
from tests.support.server import Serve, Server
from tests.support.threads import Threads
from tests.support.waiting import wait_for
from tests.support.websocket import (
    closed_with,
    open_socket,
    raw_socket,
    read_all,
)


def test_stopping_closes_every_socket_with_1001_within_5_seconds(
    serve: Serve, seeded: None
) -> None:
    server = serve()
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(open_socket(server)) for _ in range(80)]
        # These do not complete the closing handshake.
        unresponsive = [stack.enter_context(raw_socket(server.port)) for _ in range(20)]
        workers = server.workers
        assert len(workers) == 2
        assert is_within(server.stop(), 5)
        assert not [pid for pid in workers if is_running(pid)]
        for client in clients:
            assert closed_with(client) == CloseCode.GOING_AWAY
        for connection in unresponsive:
            assert read_all(connection)[-1] == (8, CloseCode.GOING_AWAY.to_bytes(2, "big"))


def test_a_socket_that_opens_while_the_server_stops_is_closed_with_1001(
    serve: Serve, gap: Callable[[], Any]
) -> None:
    codes: list[int | None] = []

    def open_one(server: Server) -> None:
        with open_socket(server) as client:
            codes.append(closed_with(client))

    with gap(), Threads() as threads:
        # A handshake waits for a listener that has never been connected.
        server = serve(WEB_CONCURRENCY="1")
        threads.start(open_one, server)
        time.sleep(0.5)
        assert is_within(server.stop(), 5)
        threads.join()
    assert codes == [CloseCode.GOING_AWAY]


def test_a_reload_closes_every_socket_and_new_ones_open(serve: Serve, seeded: None) -> None:
    server = serve()
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(open_socket(server)) for _ in range(10)]
        server.process.send_signal(signal.SIGHUP)
        for client in clients:
            assert closed_with(client) == CloseCode.GOING_AWAY
        # While the old workers stop, they refuse new sockets. The new workers accept them.
        with wait_for(lambda: _opened(server)) as client:
            client.send("ping")
            assert client.recv(30) == '"pong"'


def _opened(server: Server) -> ClientConnection | None:
    with contextlib.suppress(InvalidHandshake, EOFError, OSError):
        return open_socket(server)
    return None
