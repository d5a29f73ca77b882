"""The processes: how they start, stop, reload and are replaced, seen from outside."""

from __future__ import annotations

import http.client
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, suppress
from pathlib import Path
from typing import Any

import pytest

from tests.support.database import Sql, connected
from tests.support.http import ask, booking
from tests.support.postgres import Postgres
from tests.support.processes import is_running
from tests.support.project import ROOT, procfile
from tests.support.server import Serve, Server, accepts, free_port
from tests.support.threads import Threads
from tests.support.waiting import wait_for


def release(environ: dict[str, str]) -> subprocess.Popen[str]:
    """The Procfile's own `release:` line, run as Heroku runs it."""
    return subprocess.Popen(
        ["sh", "-c", f"exec {procfile()['release']}"],
        cwd=ROOT,
        env={"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", **environ},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def finish(process: subprocess.Popen[str]) -> tuple[int, str]:
    """Wait for the end; give the exit code and what was said."""
    output, _ = process.communicate(timeout=60)
    return process.returncode, output


@pytest.fixture
def prepared(environ: dict[str, str], sql: Sql) -> None:
    """The test seed, as the release command makes it."""
    sql((ROOT / "db/schema/drop.sql").read_text())
    assert finish(release(environ))[0] == 0


# The release command


def counts(sql: Sql) -> list[int]:
    tables = ("days", "appointments", "interviewers", "interviews", "available_interviewers")
    return [sql(f"SELECT count(*) FROM {table}")[0][0] for table in tables]


def test_the_release_command_may_run_twice(
    environ: dict[str, str], prepared: None, sql: Sql
) -> None:
    assert counts(sql) == [2, 4, 2, 1, 4]
    sql("DELETE FROM interviews")
    code, said = finish(release(environ))
    assert code == 0, said
    assert counts(sql) == [2, 4, 2, 0, 4]


def test_the_release_command_may_be_run_by_several_at_once(
    environ: dict[str, str], sql: Sql
) -> None:
    sql((ROOT / "db/schema/drop.sql").read_text())
    for code, said in [finish(process) for process in [release(environ) for _ in range(4)]]:
        assert code == 0, said
    assert counts(sql) == [2, 4, 2, 1, 4]


def test_the_release_command_passes_where_no_database_is_attached_yet() -> None:
    code, said = finish(release({}))
    assert code == 0
    assert said.strip()


def test_the_release_command_fails_aloud_without_the_password() -> None:
    url = f"postgres://u:s3cret@127.0.0.1:{free_port()}/x"
    code, said = finish(release({"DATABASE_URL": url}))
    assert code != 0
    assert "s3cret" not in said
    assert "could not be prepared" in said


# The start


def test_the_server_boots_without_a_database_and_serves_when_there_is_one(
    serve: Serve, tmp_path_factory: pytest.TempPathFactory
) -> None:
    postgres = Postgres(tmp_path_factory.mktemp("pg") / "data")
    server = serve(DATABASE_URL=postgres.url)
    workers = server.workers
    for path in ("/api/days", "/api/appointments", "/api/interviewers"):
        for _ in range(3):
            answer = ask(server, "GET", path)
            assert (answer.status, answer.headers["Content-Type"]) == (
                503,
                "application/problem+json",
            )
            assert int(answer.headers["Retry-After"]) > 0
            assert answer.seconds < 1
    assert ask(server, "PUT", "/api/appointments/1", booking("Ada")).status == 503
    assert ask(server, "GET", "/nowhere").status == 404
    with postgres.running():
        answer = ask(server, "GET", "/api/days")
        assert answer.status == 503  # no tables yet
        assert finish(release({"DATABASE_URL": postgres.url, "APP_ENV": "test"}))[0] == 0
        wait_for(lambda: ask(server, "GET", "/api/days").status == 200, 2)
        assert ask(server, "PUT", "/api/appointments/2", booking("Ada")).status == 204
        wait_for(lambda: server.log.count('msg="listening for changes"') == 2)
        assert sorted(server.workers) == sorted(workers)
        server.stop()


def test_the_log_says_what_was_started_and_never_the_password(
    serve: Serve, database_url: str, prepared: None, sql: Sql
) -> None:
    url = f"{database_url}&password=s3cret%21"
    server = serve(DATABASE_URL=url)
    log = server.log
    for said in ("environment=test", f"port={server.port}", "workers=2", "host=", "database="):
        assert said in log
    ((version,),) = sql("SHOW server_version")
    assert re.search(rf'postgres="?{re.escape(version)}', log)
    unreachable = serve(DATABASE_URL=f"postgres://u:s3cret%21@127.0.0.1:{free_port()}/x")
    assert ask(unreachable, "GET", "/api/days").status == 503
    assert "host=127.0.0.1" in unreachable.log
    for either in (server, unreachable):
        ask(either, "GET", "/api/days")
        either.stop()
        assert "s3cret" not in either.log


@pytest.mark.parametrize("wrong", [{"APP_ENV": "prod"}, {"PORT": "x"}, {"DATABASE_URL": "x"}])
def test_a_setting_that_makes_no_sense_ends_the_start_in_words(
    wrong: dict[str, str], tmp_path: Path
) -> None:
    (name,) = wrong
    command = subprocess.run(
        ["sh", "-c", f"exec {procfile()['web']}"],
        cwd=ROOT,
        env={
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "PORT": str(free_port()),
            **wrong,
        },
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )
    assert command.returncode != 0
    said = command.stdout + command.stderr
    assert f"Not started: {name}" in said
    assert "Traceback" not in said


# Under load


class Load:
    """Clients that ask again and again, each counting its answers; errors end them."""

    def __init__(self, server: Server, threads: Threads) -> None:
        self.server = server
        self.answers: list[int] = []
        self.dropped: list[str] = []
        self.stopping = threads.stopping

    def on_new_connections(self) -> None:
        while not self.stopping.is_set():
            try:
                self.answers.append(ask(self.server, *self._request()).status)
            except (OSError, http.client.HTTPException) as error:
                self.dropped.append(repr(error))

    def on_one_connection(self) -> None:
        """Until the server says that it closes the connection."""
        connection = http.client.HTTPConnection("127.0.0.1", self.server.port, timeout=10)
        with closing(connection):
            while not self.stopping.is_set():
                method, path, body = self._request()
                try:
                    connection.request(
                        method,
                        path,
                        body and b'{"interview":{"student":"A","interviewer":1}}',
                        {"Content-Type": "application/json"},
                    )
                    response = connection.getresponse()
                    response.read()
                except (OSError, http.client.HTTPException) as error:
                    self.dropped.append(repr(error))
                    return
                self.answers.append(response.status)
                if response.will_close:
                    return

    def _request(self) -> tuple[str, str, Any]:
        if len(self.answers) % 3 == 2:
            return "PUT", "/api/appointments/1", booking("A")
        return "GET", "/api/appointments", None


def test_a_stop_under_load_answers_every_request_it_has_accepted(
    serve: Serve, prepared: None
) -> None:
    server = serve(SAVE_DELAY="0.2")
    with Threads() as threads:
        load = Load(server, threads)
        for _ in range(16):
            threads.start(load.on_one_connection)
        wait_for(lambda: len(load.answers) > 100)
        workers = server.workers
        seconds = server.stop()
        threads.join()
    assert load.dropped == []
    assert set(load.answers) <= {200, 204}
    assert seconds < 5
    assert not [pid for pid in workers if is_running(pid)]


def test_a_slow_request_is_finished_before_the_stop(serve: Serve, prepared: None, sql: Sql) -> None:
    server = serve(SAVE_DELAY="2")
    statuses = []
    with Threads() as threads:
        for slot in (1, 2, 3, 4):
            threads.start(
                lambda slot: statuses.append(
                    ask(server, "PUT", f"/api/appointments/{slot}", booking("Ada")).status
                ),
                slot,
            )
        wait_for(lambda: sql("SELECT count(*) FROM interviews") == [(4,)])
        assert server.stop() < 5
    assert statuses == [204] * 4


def test_a_reload_under_load_drops_nothing(serve: Serve, prepared: None) -> None:
    server = serve()
    with Threads() as threads:
        load = Load(server, threads)
        for _ in range(6):
            threads.start(load.on_new_connections)
        for _ in range(6):
            threads.start(load.on_one_connection)
        wait_for(lambda: len(load.answers) > 100)
        old = set(server.workers)
        server.process.send_signal(signal.SIGHUP)
        wait_for(lambda: len(server.workers) == 2 and not old & set(server.workers))
        before = len(load.answers)
        wait_for(lambda: len(load.answers) > before + 100)
    assert load.dropped == []
    assert set(load.answers) <= {200, 204}


def test_a_killed_worker_is_replaced(serve: Serve, prepared: None) -> None:
    server = serve()
    killed, living = server.workers
    os.kill(killed, signal.SIGKILL)
    wait_for(lambda: server.log.count("listening for changes") == 3)
    assert killed not in server.workers
    assert len(server.workers) == 2
    assert living in server.workers
    for _ in range(20):
        assert ask(server, "GET", "/api/days").status == 200


def test_idle_connections_do_not_delay_the_stop(serve: Serve, prepared: None) -> None:
    server = serve()
    with ExitStack() as stack:
        for number in range(50):
            connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
            stack.enter_context(closing(connection))
            connection.connect()
            if number % 2:
                connection.request("GET", "/api/days")
                assert connection.getresponse().read()
        assert server.stop() < 2


def test_half_a_request_does_not_delay_the_stop(serve: Serve, prepared: None) -> None:
    server = serve()
    with ExitStack() as stack:
        for half in (
            b"GET /api/da",
            b"PUT /api/appointments/1 HTTP/1.1\r\nHost: x\r\n"
            b"Content-Type: application/json\r\nContent-Length: 50\r\n\r\n{",
        ):
            for _ in range(10):
                connection = socket.create_connection(("127.0.0.1", server.port))
                stack.enter_context(connection)
                connection.sendall(half)
        assert ask(server, "GET", "/api/days").status == 200
        workers = server.workers
        assert server.stop() < 5
        assert not [pid for pid in workers if is_running(pid)]


@pytest.mark.slow
@pytest.mark.parametrize("framing", [b"Content-Length: 1000", b"Transfer-Encoding: chunked"])
def test_a_dripping_body_is_let_go_within_30_seconds(
    serve: Serve, prepared: None, framing: bytes
) -> None:
    server = serve()
    drip = b"1\r\n \r\n" if b"chunked" in framing else b" "
    with socket.create_connection(("127.0.0.1", server.port)) as connection:
        connection.sendall(
            b"PUT /api/appointments/1 HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
            + framing
            + b"\r\n\r\n"
        )
        started = time.monotonic()
        connection.settimeout(1)
        answer = b""
        while time.monotonic() - started < 35:
            with suppress(BrokenPipeError, ConnectionResetError):
                connection.sendall(drip)
            try:
                data = connection.recv(65536)
            except TimeoutError:
                continue
            except ConnectionResetError:
                break
            answer += data
            if not data or b"}" in answer:
                break
        assert time.monotonic() - started < 30
        assert answer.startswith(b"HTTP/1.1 408 ")
        assert b"application/problem+json" in answer


def test_a_dripping_body_delays_nobody_else(serve: Serve, prepared: None) -> None:
    server = serve()
    with ExitStack() as stack:
        for _ in range(100):
            connection = socket.create_connection(("127.0.0.1", server.port))
            stack.enter_context(connection)
            connection.sendall(
                b"PUT /api/appointments/1 HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n"
                b"Content-Type: application/json\r\n\r\n{"
            )
        for _ in range(10):
            assert ask(server, "PUT", "/api/appointments/2", booking("A")).seconds < 1


# bin/dev


@pytest.mark.parametrize("blank", ["", " "])
def test_for_development_a_blank_environment_is_unset_too(
    environ: dict[str, str], blank: str
) -> None:
    port = free_port()
    process = subprocess.Popen(
        [sys.executable, ROOT / "bin" / "dev.py"],
        env={**os.environ, **environ, "APP_ENV": blank, "PORT": str(port)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        wait_for(lambda: process.poll() is not None or accepts(port))
        # Not there in production.
        assert ask(port, "GET", "/api/debug/reset").status == 200
    finally:
        process.terminate()
        process.wait(10)


# Connections to PostgreSQL


@pytest.mark.parametrize("size", [1, 3])
def test_a_server_holds_no_more_connections_than_its_workers_pools_and_listeners(
    serve: Serve, prepared: None, sql: Sql, size: int
) -> None:
    before = sql("SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()")[0][0]
    server = serve(DB_POOL_SIZE=str(size))
    most = 0
    with Threads() as threads:
        load = Load(server, threads)
        for _ in range(24):
            threads.start(load.on_new_connections)
        for turn in range(40):
            ((count,),) = sql(
                "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
            )
            most = max(most, count - before)
            if turn % 10 == 9:
                sql(
                    "SELECT pg_terminate_backend(pid, 1000) FROM pg_stat_activity"
                    " WHERE datname = current_database() AND pid <> pg_backend_pid()"
                )
            time.sleep(0.03)
    assert set(load.answers) <= {200, 204}
    assert 2 < most <= 2 * (size + 1)


# TLS


@pytest.fixture(scope="module")
def heroku_postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """As on Heroku: TLS only, with a certificate that nobody signed, and 20 connections."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin")) + [
        Path(program).parent for program in [shutil.which("initdb")] if program
    ]
    if not found or not shutil.which("openssl"):
        pytest.skip("needs openssl and a PostgreSQL built with it (the embedded one is not)")
    folder = tmp_path_factory.mktemp("tls")
    user = "postgres" if os.geteuid() == 0 else None
    if user:
        for parent in folder.parents[:2]:
            parent.chmod(parent.stat().st_mode | 0o011)
        shutil.chown(folder, user)
    port = free_port()

    def run(*command: str | Path) -> None:
        subprocess.run(
            command,
            check=True,
            user=user,
            cwd="/",
            capture_output=command[0] != found[-1] / "pg_ctl",
            stdout=None if command[0] != found[-1] / "pg_ctl" else subprocess.DEVNULL,
        )

    data = folder / "data"
    (folder / "password").write_text("s3cret")
    run(
        found[-1] / "initdb",
        "-D",
        data,
        "-U",
        "app",
        "-A",
        "scram-sha-256",
        f"--pwfile={folder / 'password'}",
        "-E",
        "UTF8",
    )
    run(
        "openssl",
        "req",
        "-new",
        "-x509",
        "-days",
        "2",
        "-nodes",
        "-subj",
        "/CN=nobody",
        "-out",
        data / "server.crt",
        "-keyout",
        data / "server.key",
    )
    (data / "server.key").chmod(0o600)
    with (data / "postgresql.conf").open("a") as conf:
        conf.write(
            f"ssl = on\nport = {port}\nlisten_addresses = '127.0.0.1'\nmax_connections = 20\n"
            f"unix_socket_directories = ''\nfsync = off\n"
        )
    (data / "pg_hba.conf").write_text("hostssl all all 127.0.0.1/32 scram-sha-256\n")
    run(found[-1] / "pg_ctl", "-w", "-D", data, "-l", folder / "log", "start")
    yield f"postgres://app:s3cret@127.0.0.1:{port}/postgres"
    run(found[-1] / "pg_ctl", "-w", "-D", data, "-m", "immediate", "stop")


@pytest.mark.parametrize("url", ["{}", "{}?sslmode=disable"])
def test_on_heroku_connections_use_tls_and_fit_into_20_also_while_dynos_overlap(
    serve: Serve, heroku_postgres: str, url: str
) -> None:
    heroku = {"DATABASE_URL": url.format(heroku_postgres), "DYNO": "web.1", "APP_ENV": "test"}
    code, said = finish(release(heroku))
    assert code == 0, said
    dynos = [serve(**heroku) for _ in range(2)]
    with Threads() as threads:
        loads = [Load(dyno, threads) for dyno in dynos]
        for load in loads:
            for _ in range(12):
                threads.start(load.on_new_connections)
        wait_for(lambda: all(len(load.answers) > 200 for load in loads), 30)
        # A person's psql, and the release command of the next deploy.
        with connected(heroku_postgres, sslmode="require") as run:
            ((count, is_all_tls),) = run(
                "SELECT count(*), bool_and(ssl) FROM pg_stat_activity JOIN pg_stat_ssl"
                " USING (pid) WHERE backend_type = 'client backend'"
            )
            assert finish(release(heroku))[0] == 0
    assert is_all_tls
    assert 4 < count <= 2 * 2 * 4 + 1
    assert {status for load in loads for status in load.answers} <= {200, 204}


def test_a_postgresql_that_demands_tls_refuses_who_has_switched_it_off(
    serve: Serve, heroku_postgres: str
) -> None:
    server = serve(DATABASE_URL=f"{heroku_postgres}?sslmode=disable")
    answer = ask(server, "GET", "/api/days")
    assert (answer.status, "Retry-After" in answer.headers) == (503, True)
    assert "s3cret" not in server.log
