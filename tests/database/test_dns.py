"""Connections over TCP: host names, their addresses, and machines that vanish."""

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
from tests.support.database import connected
from tests.support.folders import short_folder
from tests.support.http import Response, ask
from tests.support.pace import is_within
from tests.support.postgres import Postgres
from tests.support.project import ROOT, procfile
from tests.support.server import Serve, free_port
from tests.support.threads import Threads
from tests.support.unavailable import assert_served_at_once, assert_unavailable


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


def test_a_nameserver_that_does_not_reply_gives_503_within_5_seconds_and_delays_nothing_else(
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
        assert_served_at_once(server)
    assert len(slow) == 2
    for response in slow:
        assert_unavailable(response)
    assert "could not look up" in server.log
    assert is_within(server.stop(), 5)


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    """The port of a PostgreSQL that listens on 127.0.0.1 and, on Linux, on 127.0.0.3."""
    with short_folder() as folder, Postgres(folder / "data").running() as postgres:
        port = free_port()
        postgres.control("restart", "-o", f"-h 127.0.0.1,127.0.0.3 -p {port} -k {postgres.folder}")
        yield port


def test_every_address_of_a_name_is_tried(port: int) -> None:
    # `localhost` is ::1 as well on many machines.
    connect({"dsn": f"postgresql://postgres@localhost:{port}/postgres"}).close()
    several = f"postgresql://postgres@localhost:1,localhost:{port}/postgres"
    connect({"dsn": f"{several}?target_session_attrs=read-write"}).close()


CONNECT = """
import sys
from app.database.connection import connect
connect({"dsn": sys.argv[1]}).close()
"""


def test_an_address_that_does_not_reply_leaves_time_for_the_next(port: int, tmp_path: Path) -> None:
    names = tmp_path / "hosts"
    names.write_text("127.0.0.2 db.example\n127.0.0.3 db.example\n")
    command = seeing(names, "/etc/hosts")
    with socket.create_server(("127.0.0.2", port)) as silent:
        url = f"postgresql://postgres@db.example:{port}/postgres"
        subprocess.run([*command, sys.executable, "-c", CONNECT, url], check=True, cwd=ROOT)
        # It was tried first.
        silent.settimeout(0)
        silent.accept()[0].close()


@pytest.mark.parametrize("name", ["nowhere.invalid", "x" * 300])
def test_a_name_without_an_address_is_named(name: str) -> None:
    with pytest.raises(psycopg2.OperationalError, match=name):
        connect({"dsn": f"postgresql://{name}/x"})


def test_the_tcp_settings_end_the_connection_of_a_vanished_machine(port: int) -> None:
    with connected(f"postgresql://postgres@127.0.0.1:{port}/postgres") as sql:
        settings = dict(sql("SELECT name, setting::int FROM pg_settings WHERE name LIKE 'tcp_%'"))
    assert settings["tcp_keepalives_idle"] <= 60
    assert settings["tcp_keepalives_interval"] * settings["tcp_keepalives_count"] <= 60
    assert 0 < settings["tcp_user_timeout"] <= 60_000
