"""A failover: the primary fails and its synchronous standby is promoted.

`DATABASE_URL` names both hosts, with `target_session_attrs=read-write`.
"""

from __future__ import annotations

import math
import os
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from app import create_app
from app.database import schema
from bin import embedded_postgres
from tests.support import tools
from tests.support.database import connected
from tests.support.folders import short_folder
from tests.support.http import Response, ask, booking
from tests.support.pace import is_within
from tests.support.postgres import Postgres
from tests.support.server import Serve, Server
from tests.support.threads import Threads
from tests.support.waiting import wait_for

tools.embedded_postgres_program("postgres")


# Seconds. Requests that are sent this long after a promotion succeed.
GOOD_AFTER = 2.0


class Pair(NamedTuple):
    """A primary and its standby, which has every transaction that the primary has confirmed."""

    primary: Postgres
    standby: Postgres

    @property
    def url(self) -> str:
        hosts = f"{self.primary.folder},{self.standby.folder}"
        return f"postgresql://postgres@/postgres?host={hosts}&target_session_attrs=read-write"


@contextmanager
def replicated(folder: Path) -> Iterator[Pair]:
    """Run a freshly seeded primary and its standby."""
    with Postgres(folder / "primary").running() as primary:
        with create_app({"DATABASE_URL": primary.url, "APP_ENV": "test"}).app_context():
            schema.reset()
        standby = Postgres(folder / "standby")
        copy(primary, standby)
        standby.control("start")
        try:
            with connected(primary.url) as sql:
                sql("ALTER SYSTEM SET synchronous_standby_names = '*'")
                sql("SELECT pg_reload_conf()")
                state = "SELECT 1 FROM pg_stat_replication WHERE sync_state = 'sync'"
                wait_for(lambda: sql(state))
            yield Pair(primary, standby)
        finally:
            standby.control("stop", "-m", "immediate")


@pytest.fixture(scope="module")
def pair() -> Iterator[Pair]:
    """A pair for all tests that promote nothing."""
    with short_folder() as folder, replicated(folder) as pair:
        yield pair


@pytest.fixture(scope="module")
def server(serve_module: Serve, pair: Pair) -> Server:
    return serve_module(DATABASE_URL=pair.url)


def copy(primary: Postgres, standby: Postgres) -> None:
    """Make a standby from a copy of the primary."""
    standby.data.mkdir(mode=0o700, parents=True)
    if os.geteuid() == 0:
        owner = primary.data.stat()
        os.chown(standby.data, owner.st_uid, owner.st_gid)
        os.chown(standby.folder, owner.st_uid, owner.st_gid)
    arguments = [
        *("--host", str(primary.folder), "--username", "postgres", "--pgdata", str(standby.data)),
        *("--write-recovery-conf", "--checkpoint", "fast"),
    ]
    command = embedded_postgres.command("pg_basebackup", primary.data, *arguments)
    subprocess.run(command, check=True, cwd="/", capture_output=True)
    with (standby.data / "postgresql.conf").open("a") as conf:
        # The primary has these settings on its command line.
        conf.write(f"unix_socket_directories = '{standby.folder}'\nlisten_addresses = ''\n")
        conf.write("fsync = off\n")


@contextmanager
def stopped(primary: Postgres) -> Iterator[None]:
    """Stop it: no process listens on its socket any more."""
    primary.control("stop", "-m", "immediate")
    yield


@pytest.mark.parametrize("accident", [stopped, Postgres.frozen])
def test_a_failover_loses_no_booking_that_got_204(
    serve: Serve, short_path: Path, accident: Callable[[Postgres], Any]
) -> None:
    responses: list[Response] = []
    late: list[Response] = []
    good_from = math.inf
    known: dict[int, set[str | None]] = {1: {"Archie Cohen"}, 2: {None}, 3: {None}, 4: {None}}

    def work(server: Server, appointment: int, threads: Threads) -> None:
        turn = 0
        while not threads.stopping.is_set():
            turn += 1
            threads.stopping.wait(0.01)  # leaves PostgreSQL time to promote
            student = f"{appointment} {turn}"
            asked_at = time.monotonic()
            put = ask(server, "PUT", f"/api/appointments/{appointment}", booking(student))
            # After a 503, it may have been made or not.
            known[appointment] = {student, *(known[appointment] if put.status != 204 else ())}
            get = ask(server, "GET", "/api/days?direct")
            responses.extend([put, get])
            if asked_at > good_from:
                late.extend([put, get])

    with ExitStack() as stack:
        pair = stack.enter_context(replicated(short_path))
        server = serve(DATABASE_URL=pair.url)
        with Threads() as threads:
            for appointment in known:
                threads.start(work, server, appointment, threads)
            wait_for(lambda: len(responses) > 50)
            stack.enter_context(accident(pair.primary))
            time.sleep(1)  # detecting a failure takes longer
            pair.standby.control("promote")
            good_from = time.monotonic() + GOOD_AFTER
            wait_for(lambda: len(late) > 50)
        with connected(pair.standby.url) as sql:
            stored = dict(sql("SELECT appointment_id, student FROM interviews"))
    for appointment, students in known.items():
        assert stored.get(appointment) in students
    assert {response.status for response in late} == {200, 204}
    assert {response.status for response in responses} <= {200, 204, 503}
    assert is_within(max(response.seconds for response in responses), 5)
    assert "Traceback" not in server.log


def test_a_booking_that_did_not_reach_the_standby_gets_503(server: Server, pair: Pair) -> None:
    assert ask(server, "PUT", "/api/appointments/2", booking("Ada")).status == 204
    pair.standby.control("stop", "-m", "immediate")
    response = ask(server, "PUT", "/api/appointments/2", booking("Bob"))
    pair.standby.control("start")
    assert response.status == 503
    assert is_within(response.seconds, 5)
    wait_for(lambda: ask(server, "PUT", "/api/appointments/2", booking("Cyd")).status == 204)


@pytest.mark.parametrize(("is_back", "status"), [(False, 503), (True, 204)])
def test_a_booking_whose_backend_is_terminated_gets_204_only_if_the_standby_has_it(
    server: Server, pair: Pair, is_back: bool, status: int
) -> None:
    """When its backend is terminated, PostgreSQL has committed it without the standby."""
    waiting = "FROM pg_stat_activity WHERE wait_event = 'SyncRep'"
    responses: list[Response] = []
    with connected(pair.primary.url) as sql, Threads() as threads, pair.standby.frozen():
        put = ("PUT", "/api/appointments/2", booking("Ada"))
        threads.start(lambda: responses.append(ask(server, *put)))
        wait_for(lambda: sql(f"SELECT {waiting}"))
        sql(f"SELECT pg_terminate_backend(pid) {waiting}")
        # Leaving the block thaws the standby: at once, or after the response.
        wait_for(lambda: is_back or responses)
    assert [response.status for response in responses] == [status]
    assert is_within(responses[0].seconds, 5)
