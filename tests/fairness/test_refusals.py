"""What the server refuses in words instead of half understanding it."""

from __future__ import annotations

import re
import signal
import socket
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from app import create_app
from tests.fairness.attackers import HANDSHAKE
from tests.support.database import reseed
from tests.support.development import free_port
from tests.support.http import ask
from tests.support.pace import is_within
from tests.support.project import ROOT
from tests.support.server import Server
from tests.support.waiting import wait_for

GZIP_CHUNKED = (
    b"%s HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
    b"Transfer-Encoding: gzip, chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n"
)


@pytest.fixture(scope="module")
def server(database_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    environ = {"DATABASE_URL": database_url, "APP_ENV": "test"}
    reseed(create_app(environ))
    server = Server(
        {**environ, "PORT": str(free_port())}, tmp_path_factory.mktemp("server") / "log"
    )
    server.wait_until_workers_boot()
    yield server
    server.stop()


def exchange(server: Server, request: bytes) -> bytes:
    """Send a request; give the beginning of the response."""
    with closing(socket.create_connection(("127.0.0.1", server.port), 5)) as connection:
        connection.sendall(request)
        return connection.recv(65536)


def test_a_handshake_over_http_1_0_is_refused(server: Server) -> None:
    # RFC 6455, section 4.2.1: a handshake is HTTP/1.1 or higher.
    response = exchange(server, HANDSHAKE.replace(b"HTTP/1.1", b"HTTP/1.0"))
    assert re.match(rb"HTTP/1\.[01] (400|426) ", response)
    assert b"application/problem+json" in response


@pytest.mark.parametrize("line", [b"PUT /api/appointments/1", b"GET /api/days", b"POST /nowhere"])
@pytest.mark.parametrize("coding", [b"gzip, chunked", b"deflate, chunked", b"compress, chunked"])
def test_a_transfer_coding_that_is_not_decoded_is_refused(
    server: Server, line: bytes, coding: bytes
) -> None:
    request = (GZIP_CHUNKED % line).replace(b"gzip, chunked", coding)
    response = exchange(server, request)
    assert re.match(rb"HTTP/1\.1 (415|501) ", response)
    assert b"application/problem+json" in response


def test_more_workers_than_the_shared_memory_has_room_for_are_refused_and_nothing_ends(
    app: object, environ: dict[str, str], tmp_path: Path
) -> None:
    # The real limit takes gigabytes to reach; only the number is another one here.
    configuration = tmp_path / "few_workers.py"
    configuration.write_text(
        "from app.cache import data_version\n"
        "data_version.MAX_WORKERS = 3\n"
        f"exec(compile(open({str(ROOT / 'gunicorn.conf.py')!r}).read(),"
        f" {str(ROOT / 'gunicorn.conf.py')!r}, 'exec'))\n"
    )
    server = Server(
        {**environ, "PORT": str(free_port())},
        tmp_path / "log",
        f'gunicorn -c {configuration} "app:create_app()"',
    )
    try:
        server.wait_until_workers_boot()
        for _ in range(4):
            server.process.send_signal(signal.SIGTTIN)
            time.sleep(0.3)
        wait_for(lambda: len(server.workers) == 3)
        # Time to try it again and again, and to fail.
        for _ in range(40):
            assert ask(server, "GET", "/api/days").status == 200
            time.sleep(0.05)
        assert len(server.workers) == 3
        assert "Traceback" not in server.log
        assert re.search(r"at=WARNING .*worker", server.log)
        server.process.send_signal(signal.SIGTTOU)
        wait_for(lambda: len(server.workers) == 2)
        server.process.send_signal(signal.SIGHUP)
        server.wait_for_boots(5)
        assert ask(server, "GET", "/api/days").status == 200
        assert is_within(server.stop(), 5)
    finally:
        server.stop()
