"""How many connections to PostgreSQL a server holds, and their TLS."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support import tools
from tests.support.database import Sql, connected
from tests.support.folders import short_folder
from tests.support.http import ask
from tests.support.load import Load
from tests.support.project import finish, release
from tests.support.proxy import Proxy
from tests.support.server import Serve, free_port
from tests.support.threads import Threads
from tests.support.waiting import wait_for


def test_a_server_holds_no_more_connections_than_its_workers_pools_and_listeners(
    serve: Serve, seeded: None, sql: Sql, proxy: Proxy
) -> None:
    server = serve(DATABASE_URL=proxy.url, DB_POOL_SIZE="2")
    with Threads() as threads:
        load = Load(server, threads)
        for _ in range(16):
            threads.start(load.on_new_connections)
        for _ in range(4):
            before = len(load.statuses)
            wait_for(lambda: len(load.statuses) > before + 60)  # noqa: B023
            sql(
                "SELECT pg_terminate_backend(pid, 1000) FROM pg_stat_activity"
                " WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
    assert set(load.statuses) <= {200, 204}
    # 2 workers × (pool of 2 + listener)
    assert 2 < proxy.most_open <= 2 * (2 + 1)


@pytest.fixture(scope="module")
def heroku_postgres() -> Iterator[str]:
    """As on Heroku: TLS only, a self-signed certificate, and 20 connections."""
    tools.program("openssl")
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    # The embedded PostgreSQL is built without TLS.
    programs = found[-1] if found else Path(tools.program("initdb")).parent
    with short_folder() as folder, _heroku(folder, programs) as url:
        yield url


@contextmanager
def _heroku(folder: Path, programs: Path) -> Iterator[str]:
    user = "postgres" if os.geteuid() == 0 else None
    if user:
        shutil.chown(folder, user)
    port = free_port()

    def run(program: str | Path, options: str) -> None:
        # PostgreSQL inherits pg_ctl's output: a pipe would never end.
        command = [program, *options.split()]
        subprocess.run(command, check=True, user=user, cwd=folder, stdout=subprocess.DEVNULL)

    data = folder / "data"
    (folder / "password").write_text("s3cret")
    run(
        programs / "initdb",
        "-D data -U app -A scram-sha-256 --pwfile=password -E UTF8 --no-sync",
    )
    run(
        "openssl",
        "req -new -x509 -days 2 -nodes -subj /CN=nobody"
        " -out data/server.crt -keyout data/server.key",
    )
    (data / "server.key").chmod(0o600)
    with (data / "postgresql.conf").open("a") as conf:
        conf.write(
            f"ssl = on\nport = {port}\nlisten_addresses = '127.0.0.1'\nmax_connections = 20\n"
            f"unix_socket_directories = ''\nfsync = off\n"
        )
    (data / "pg_hba.conf").write_text("hostssl all all 127.0.0.1/32 scram-sha-256\n")
    run(programs / "pg_ctl", "-w -D data -l log start")
    yield f"postgres://app:s3cret@127.0.0.1:{port}/postgres"
    run(programs / "pg_ctl", "-w -D data -m immediate stop")


def test_on_heroku_connections_use_tls_and_fit_into_20_even_while_dynos_overlap(
    serve: Serve, heroku_postgres: str
) -> None:
    heroku = {"DATABASE_URL": heroku_postgres, "DYNO": "web.1", "APP_ENV": "test"}
    code, said = finish(release(heroku))
    assert code == 0, said
    # The sslmode of the URL does not matter.
    urls = [heroku_postgres, f"{heroku_postgres}?sslmode=disable"]
    dynos = [serve(**{**heroku, "DATABASE_URL": url}) for url in urls]
    with Threads() as threads:
        loads = [Load(dyno, threads) for dyno in dynos]
        for load in loads:
            for _ in range(8):
                threads.start(load.on_new_connections)
        wait_for(lambda: all(len(load.statuses) > 50 for load in loads), 30)
        # A person's psql, and the release command of the next deploy.
        with connected(heroku_postgres, sslmode="require") as run:
            ((count, is_all_tls),) = run(
                "SELECT count(*), bool_and(ssl) FROM pg_stat_activity JOIN pg_stat_ssl"
                " USING (pid) WHERE backend_type = 'client backend'"
            )
            assert finish(release(heroku))[0] == 0
    assert is_all_tls
    # 2 dynos × 2 workers × (pool of 3 + listener), and psql
    assert 4 < count <= 2 * 2 * 4 + 1
    assert {status for load in loads for status in load.statuses} <= {200, 204}


def test_without_tls_a_postgresql_that_demands_it_is_unavailable(
    serve: Serve, heroku_postgres: str
) -> None:
    server = serve(DATABASE_URL=f"{heroku_postgres}?sslmode=disable", WEB_CONCURRENCY="1")
    response = ask(server, "GET", "/api/days")
    assert (response.status, "Retry-After" in response.headers) == (503, True)
    assert "s3cret" not in server.log
