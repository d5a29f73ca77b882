"""PostgreSQL restarts, freezes or refuses connections: a correct response or 503 in 5 seconds."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from app import create_app
from app.cache.entry import MAX_AGE
from tests.support.database import KILL, Sql, connected, reseed
from tests.support.folders import short_folder
from tests.support.http import Response, ask, booking
from tests.support.pace import is_within, within
from tests.support.postgres import Postgres
from tests.support.server import Serve, Server
from tests.support.threads import Threads
from tests.support.unavailable import assert_served_at_once, assert_unavailable
from tests.support.waiting import wait_for


@pytest.fixture(scope="module")
def postgres_of_our_own() -> Iterator[Postgres]:
    """A PostgreSQL that only these tests use."""
    with short_folder() as folder, Postgres(folder / "data").running() as postgres:
        yield postgres


@pytest.fixture
def own(postgres_of_our_own: Postgres) -> Postgres:
    """That PostgreSQL, freshly seeded."""
    reseed(create_app({"DATABASE_URL": postgres_of_our_own.url, "APP_ENV": "test"}))
    return postgres_of_our_own


@pytest.fixture(scope="module")
def shared(serve_module: Serve, postgres_of_our_own: Postgres) -> Server:
    return serve_module(DATABASE_URL=postgres_of_our_own.url)


@pytest.fixture
def server(shared: Server, own: Postgres) -> Server:
    """A server that shows the fresh seed."""
    time.sleep(MAX_AGE)  # nothing older is served from the cache
    return shared


@pytest.mark.parametrize("accident", ["fast", "immediate", "crash"])
def test_a_restart_under_load_gives_correct_responses_or_503(
    server: Server, own: Postgres, accident: str
) -> None:
    responses: list[Response] = []
    late: list[Response] = []
    good_from = math.inf
    wrong: list[Any] = []

    def work(appointment: int, threads: Threads) -> None:
        path = f"/api/appointments/{appointment}"
        known: set[str | None] = {"Archie Cohen" if appointment == 1 else None}
        turn = 0
        while not threads.stopping.is_set():
            turn += 1
            threads.stopping.wait(0.01)  # leaves PostgreSQL time to stop and start
            student = f"{appointment} {turn}"
            asked_at = time.monotonic()
            put = ask(server, "PUT", path, booking(student))
            # A write that got 503 may have been made or not.
            known = {student} if put.status == 204 else known | {student}
            get = ask(server, "GET", "/api/appointments")
            responses.extend([put, get])
            if asked_at > good_from:
                late.extend([put, get])
            if get.status == 200:
                interview = get.json[str(appointment)]["interview"]
                shown = interview and interview["student"]
                if shown not in known:
                    wrong.append((shown, known))
                known = {shown}

    with Threads() as threads:
        for appointment in range(1, 5):
            threads.start(work, appointment, threads)
        wait_for(lambda: len(responses) > 50)
        if accident == "crash":
            own.crash()
        else:
            own.control("restart", "-m", accident)
        # Requests sent two seconds after PostgreSQL is back succeed.
        good_from = time.monotonic() + 2
        wait_for(lambda: len(late) > 50)
    assert {response.status for response in late} == {200, 204}
    assert wrong == []
    for response in responses:
        if response.status not in {200, 204}:
            assert_unavailable(response)
    assert is_within(max(response.seconds for response in responses), 5)


def test_a_frozen_postgresql_gives_503_within_5_seconds(server: Server, own: Postgres) -> None:
    for _ in range(10):
        assert ask(server, "PUT", "/api/appointments/2", booking("A")).status == 204
        assert ask(server, "GET", "/api/appointments").status == 200
    responses: list[Response] = []
    with own.frozen():
        with Threads() as threads:
            for _ in range(16):
                threads.start(
                    lambda: responses.append(
                        ask(server, "PUT", "/api/appointments/2", booking("B"))
                    )
                )
                threads.start(lambda: responses.append(ask(server, "GET", "/api/days")))
            time.sleep(0.3)
            assert_served_at_once(server)
            time.sleep(MAX_AGE)  # then no list is served from the cache
            threads.start(lambda: responses.append(ask(server, "GET", "/api/appointments")))
        assert len(responses) == 33
        for response in responses:
            assert_unavailable(response)
    with within(2):
        wait_for(lambda: ask(server, "PUT", "/api/appointments/2", booking("C")).status == 204)
    response = ask(server, "GET", "/api/appointments")
    assert response.json["2"]["interview"] == {"student": "C", "interviewer": 1}


@contextmanager
def passwords_demanded(own: Postgres) -> Iterator[Sql]:
    """Require a password, which is `right`; yield a connection that is already open."""
    hba = own.data / "pg_hba.conf"
    rules = hba.read_text()
    with connected(own.url) as sql:
        sql("ALTER ROLE postgres PASSWORD 'right'")
        hba.write_text("local all all scram-sha-256\n")
        own.control("reload")
        try:
            yield sql
        finally:
            hba.write_text(rules)
            own.control("reload")


def test_a_wrong_password_gives_503_and_is_not_revealed(serve: Serve, own: Postgres) -> None:
    with passwords_demanded(own):
        server = serve(DATABASE_URL=f"{own.url}&password=s3cret")
        for _ in range(4):
            response = ask(server, "GET", "/api/days")
            assert_unavailable(response)
            assert is_within(response.seconds, 1)
            assert "password" not in response.body.decode()
        assert "s3cret" not in server.log
        assert "password authentication failed" in server.log


def test_a_changed_password_gives_503_until_it_is_right_again(serve: Serve, own: Postgres) -> None:
    with passwords_demanded(own) as sql:
        server = serve(DATABASE_URL=f"{own.url}&password=right")
        workers = server.workers
        assert ask(server, "PUT", "/api/appointments/2", booking("Ada")).status == 204
        sql("ALTER ROLE postgres PASSWORD 'changed'")
        sql(KILL)
        for _ in range(4):
            assert_unavailable(ask(server, "PUT", "/api/appointments/2", booking("Bob")))
            assert_unavailable(ask(server, "GET", "/api/appointments"))
        sql("ALTER ROLE postgres PASSWORD 'right'")
        with within(2):
            wait_for(lambda: ask(server, "GET", "/api/appointments").status == 200)
        assert ask(server, "PUT", "/api/appointments/2", booking("Cyd")).status == 204
        assert sorted(server.workers) == sorted(workers)


def test_a_role_without_free_connections_gives_503(own: Postgres) -> None:
    with connected(own.url) as sql:
        sql("DROP ROLE IF EXISTS no_connections")
        sql("CREATE ROLE no_connections LOGIN CONNECTION LIMIT 0")
    url = own.url.replace("postgres@", "no_connections@")
    client = create_app({"DATABASE_URL": url, "APP_ENV": "test"}).test_client()
    assert_unavailable(ask(client, "GET", "/api/days"))
