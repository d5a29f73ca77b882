"""Host names of a database: a nameserver that does not reply delays nothing else."""

from __future__ import annotations

import shlex
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psycopg2
import pytest

from app.database.connection import connect
from tests.support.http import Response, ask
from tests.support.postgres import Postgres
from tests.support.project import ROOT, procfile
from tests.support.server import Serve, free_port
from tests.support.threads import Threads
from tests.support.unavailable import AT_ONCE, assert_unavailable


def seeing(file: Path, path: str) -> list[str]:
    """Return the start of a command that sees a file in the place of another one."""
    command = ["unshare", "-m", "sh", "-c", f'mount --bind {file} {path} && exec "$@"', "sh"]
    try:
        subprocess.run([*command, "true"], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("needs root on Linux")
    return command


@pytest.fixture
def silent_nameserver(tmp_path: Path) -> Iterator[str]:
    """Return the start of a command that sees only a nameserver that does not reply."""
    configuration = tmp_path / "resolv.conf"
    configuration.write_text("nameserver 127.0.0.77\n")
    command = seeing(configuration, "/etc/resolv.conf")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as nameserver:
        nameserver.bind(("127.0.0.77", 53))
        yield shlex.join(command)


def test_a_nameserver_that_does_not_reply_gives_503_in_time_and_delays_nothing_else(
    serve: Serve, silent_nameserver: str
) -> None:
    server = serve(
        f"{silent_nameserver} {procfile()['web']}",
        DATABASE_URL="postgresql://db.example/x",
        WEB_CONCURRENCY="1",
    )
    slow: list[Response] = []
    with Threads() as threads:
        for path in ("/api/days", "/api/appointments"):
            threads.start(lambda path: slow.append(ask(server, "GET", path)), path)
        for request, status in AT_ONCE:
            response = ask(server, *request)
            assert response.status == status
            assert response.seconds < 1
    assert len(slow) == 2
    for response in slow:
        assert_unavailable(response)
    assert "could not look up" in server.log
    assert server.stop() < 5


def test_every_address_of_a_name_is_tried(short_path: Path) -> None:
    with Postgres(short_path / "data").running() as postgres:
        postgres.control("stop")
        port = free_port()
        # `localhost` is ::1 as well on many machines.
        postgres.control("start", "-o", f"-h 127.0.0.1 -p {port} -k {postgres.folder}")
        url = f"postgresql://postgres@localhost:{port}/postgres"
        connect({"dsn": url}).close()
        several = f"postgresql://postgres@localhost:1,localhost:{port}/postgres"
        connect({"dsn": f"{several}?target_session_attrs=read-write"}).close()


CONNECT = """
import sys
from app.database.connection import connect
connect({"dsn": sys.argv[1]}).close()
"""


def test_an_address_that_does_not_reply_leaves_time_for_the_next(
    short_path: Path, tmp_path: Path
) -> None:
    names = tmp_path / "hosts"
    names.write_text("127.0.0.2 db.example\n127.0.0.3 db.example\n")
    with Postgres(short_path / "data").running() as postgres, socket.socket() as silent:
        silent.bind(("127.0.0.2", 0))
        silent.listen()
        port = silent.getsockname()[1]
        postgres.control("restart", "-o", f"-h 127.0.0.3 -p {port} -k {postgres.folder}")
        url = f"postgresql://postgres@db.example:{port}/postgres"
        subprocess.run(
            [*seeing(names, "/etc/hosts"), sys.executable, "-c", CONNECT, url],
            check=True,
            cwd=ROOT,
        )
        # It was tried first.
        silent.settimeout(0)
        silent.accept()[0].close()


@pytest.mark.parametrize("name", ["nowhere.invalid", "x" * 300])
def test_a_name_without_an_address_is_named(name: str) -> None:
    with pytest.raises(psycopg2.OperationalError, match=name):
        connect({"dsn": f"postgresql://{name}/x"})
