"""Host names of a database: a nameserver that does not reply delays nothing else."""

from __future__ import annotations

import shutil
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import psycopg2
import pytest

from app.database.connection import connect
from tests.support.http import Response, ask
from tests.support.postgres import Postgres
from tests.support.project import procfile
from tests.support.server import Serve, free_port
from tests.support.threads import Threads
from tests.support.unavailable import AT_ONCE, assert_unavailable


@pytest.fixture
def silent_nameserver(tmp_path: Path) -> Iterator[str]:
    """Return the start of a command that sees only a nameserver that does not reply."""
    configuration = tmp_path / "resolv.conf"
    configuration.write_text("nameserver 127.0.0.77\n")
    bind = f"mount --bind {configuration} /etc/resolv.conf"
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as nameserver:
        try:
            nameserver.bind(("127.0.0.77", 53))
            subprocess.run(
                [shutil.which("unshare") or "", "-m", "sh", "-c", bind],
                check=True,
                capture_output=True,
            )
        except (OSError, subprocess.CalledProcessError):
            pytest.skip("needs root on Linux")
        yield f"unshare -m sh -c '{bind} && exec \"$@\"' sh"


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


@pytest.mark.parametrize("name", ["nowhere.invalid", "x" * 300])
def test_a_name_without_an_address_is_named(name: str) -> None:
    with pytest.raises(psycopg2.OperationalError, match=name):
        connect({"dsn": f"postgresql://{name}/x"})
