"""How the server starts, including without a database and with invalid settings."""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.support.database import Sql
from tests.support.http import ask, booking
from tests.support.lists import PATHS
from tests.support.pace import is_within, within
from tests.support.postgres import Postgres
from tests.support.project import finish, release, run
from tests.support.server import Serve, free_port
from tests.support.unavailable import assert_unavailable
from tests.support.waiting import wait_for


def test_the_server_boots_without_a_database_and_serves_when_there_is_one(
    serve: Serve, short_path: Path
) -> None:
    postgres = Postgres(short_path / "data")
    server = serve(DATABASE_URL=postgres.url)
    workers = server.workers
    with ThreadPoolExecutor(9) as threads:
        for response in threads.map(lambda path: ask(server, "GET", path), PATHS * 3):
            assert_unavailable(response)
            assert is_within(response.seconds, 1)
    assert_unavailable(ask(server, "PUT", "/api/appointments/1", booking("Ada")))
    assert ask(server, "GET", "/nowhere").status == 404
    with postgres.running():
        response = ask(server, "GET", "/api/days")
        assert response.status == 503  # no tables yet
        assert finish(release({"DATABASE_URL": postgres.url, "APP_ENV": "test"}))[0] == 0
        with within(2):
            wait_for(lambda: ask(server, "GET", "/api/days").status == 200)
        assert ask(server, "PUT", "/api/appointments/2", booking("Ada")).status == 204
        wait_for(lambda: server.log.count('msg="listening for changes"') == 2)
        assert sorted(server.workers) == sorted(workers)
        server.stop()


def test_the_log_says_what_started_and_never_the_password(
    serve: Serve, database_url: str, seeded: None, sql: Sql
) -> None:
    url = f"{database_url}&password=s3cret%21"
    server = serve(DATABASE_URL=url)
    log = server.log
    for said in ("environment=test", f"port={server.port}", "workers=2", "host=", "database="):
        assert said in log
    ((version,),) = sql("SHOW server_version")
    assert re.search(rf'postgres="?{re.escape(version)}', log)
    nowhere = f"postgres://u:s3cret%21@127.0.0.1:{free_port()}/x"
    unreachable = serve(DATABASE_URL=nowhere, PGPASSWORD="s3cret", WEB_CONCURRENCY="1")
    assert ask(unreachable, "GET", "/api/days").status == 503
    assert "host=127.0.0.1" in unreachable.log
    for either in (server, unreachable):
        ask(either, "GET", "/api/days")
        either.stop()
        assert "s3cret" not in either.log


def test_the_log_says_what_flags_override(serve: Serve) -> None:
    port = free_port()
    command = f'gunicorn --workers 2 --bind 127.0.0.1:{port} "app:create_app()"'
    server = serve(command, WEB_CONCURRENCY="1")
    server.wait_for_boots(2)
    assert f" port={port} workers=2 " in server.log


OPTIONS = ["--preload", "--certfile=x", "--max-requests=9", "--reload", "--proxy-protocol=auto"]


@pytest.mark.parametrize("option", OPTIONS)
def test_an_unsupported_option_stops_the_server_with_a_clear_message(option: str) -> None:
    ended = run(f'gunicorn {option} "app:create_app()"', {"PORT": str(free_port())})
    assert ended.returncode != 0
    assert "Not started: the server" in ended.stdout + ended.stderr
    assert "Traceback" not in ended.stdout + ended.stderr
