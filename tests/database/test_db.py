"""If PostgreSQL is unavailable, slow or frozen: the correct response, or 503 in time."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any

import pytest
from flask import Flask

from app import create_app
from app.database import pool, schema, statements
from tests.support.database import Sql, connected
from tests.support.folders import short_folder
from tests.support.http import Response, ask, booking
from tests.support.postgres import Postgres
from tests.support.proxy import Proxy
from tests.support.server import Serve
from tests.support.threads import Threads
from tests.support.waiting import wait_for

FREE = {"If-None-Match": "*"}
BOOKED = {"If-Match": "*"}
# Seconds that a list is served from the cache.
CACHE_MAX_AGE = 1.0


def assert_unavailable(response: Response) -> None:
    assert response.status == 503
    assert response.headers["Content-Type"] == "application/problem+json"
    assert int(response.headers["Retry-After"]) > 0
    assert response.json["status"] == 503
    assert response.seconds < 5


# Killed connections

KILL = (
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
    " WHERE datname = current_database() AND pid <> pg_backend_pid()"
)


def test_no_request_fails_when_backends_are_killed(
    serve: Serve, app: Flask, database_url: str
) -> None:
    server = serve()
    responses: list[tuple[str, Response]] = []

    def work(number: int) -> None:
        path = f"/api/appointments/{1 + number % 4}"
        for turn in range(60):
            if turn % 2:
                responses.append(("GET", ask(server, "GET", "/api/days")))
            elif turn % 6:
                responses.append(("PUT", ask(server, "PUT", path, booking(f"{number} {turn}"))))
            else:
                responses.append(("DELETE", ask(server, "DELETE", path)))

    with Threads() as killing:

        def kill() -> None:
            # A new connection has to live long enough for a statement, on a busy machine too.
            started = time.monotonic()
            with connected(database_url) as run:
                run(KILL)
            killing.stopping.wait(max(0.1, 10 * (time.monotonic() - started)))

        killing.repeat(kill)
        with Threads() as threads:
            for number in range(8):
                threads.start(work, number)
    assert len(responses) == 8 * 60
    failed = [(method, *response[:3]) for method, response in responses if response.status >= 400]
    assert failed == []
    assert max(response.seconds for _, response in responses) < 5


# A connection that breaks while a change is committed


@pytest.fixture
def behind(app: Flask, proxy: Proxy) -> Iterator[Any]:
    """A client of an application behind a faulty network."""
    behind = create_app({"DATABASE_URL": proxy.url, "APP_ENV": "test"})
    yield behind.test_client()
    behind.extensions["change_listener"].stop()


@pytest.mark.parametrize(("moment", "times"), [("before", 1), ("after", 1), ("after", 2)])
@pytest.mark.parametrize(
    "request_",
    [
        ("PUT", 2, FREE),
        ("PUT", 1, BOOKED),
        ("PUT", 2, {}),
        ("DELETE", 1, BOOKED),
        ("DELETE", 1, {}),
    ],
    ids=str,
)
def test_a_change_is_made_once_if_its_connection_breaks(  # noqa: PLR0917
    behind: Any, proxy: Proxy, sql: Sql, moment: str, times: int, request_: Any
) -> None:
    method, appointment, headers = request_
    sql(
        "CREATE FUNCTION counted() RETURNS trigger LANGUAGE plpgsql AS"
        " $$ BEGIN INSERT INTO made DEFAULT VALUES; RETURN NULL; END $$"
    )
    sql("CREATE TABLE made (id SERIAL)")
    sql(
        "CREATE TRIGGER counted AFTER INSERT OR UPDATE OR DELETE ON interviews"
        " FOR EACH ROW EXECUTE FUNCTION counted()"
    )
    try:
        breaks = proxy.breaks_before if moment == "before" else proxy.breaks_after
        breaks.extend([b"COMMIT"] * times)
        body = {"json": booking("Ada", 2)} if method == "PUT" else {}
        response = behind.open(
            f"/api/appointments/{appointment}", method=method, headers=headers, **body
        )
        assert (response.status_code, response.data) == (204, b"")
        stored = sql("SELECT student FROM interviews WHERE appointment_id = %s", [appointment])
        assert stored == ([("Ada",)] if method == "PUT" else [])
        assert sql("SELECT count(*) FROM made") == [(1,)]
    finally:
        sql("DROP TABLE made; DROP FUNCTION counted CASCADE")


@pytest.mark.parametrize("moment", ["before", "after"])
def test_a_refused_write_stays_refused_if_its_connection_breaks(
    behind: Any, proxy: Proxy, sql: Sql, moment: str
) -> None:
    (proxy.breaks_before if moment == "before" else proxy.breaks_after).append(b"ROLLBACK")
    response = behind.put("/api/appointments/1", json=booking("Ada"), headers=FREE)
    assert response.status_code == 412
    assert sql("SELECT student FROM interviews") == [("Archie Cohen",)]


def test_a_read_is_repeated_if_its_connection_breaks(behind: Any, proxy: Proxy) -> None:
    # Two lists: the second read of one is served from the cache.
    for breaks, path, text in (
        (proxy.breaks_before, "/api/days", b"available_interviewers"),
        (proxy.breaks_after, "/api/interviewers", b"avatar"),
    ):
        breaks.extend([text] * 2)
        assert behind.get(path).status_code == 200
        assert breaks == []


def test_a_network_that_always_breaks_gives_503(behind: Any, proxy: Proxy) -> None:
    proxy.breaks_before.extend([b"json_agg"] * 100)
    started = time.monotonic()
    response = behind.get("/api/days")
    assert (response.status_code, "Retry-After" in response.headers) == (503, True)
    assert time.monotonic() - started < 5


# All connections in use


AT_ONCE: list[tuple[tuple[Any, ...], int]] = [
    (("GET", "/nowhere"), 404),
    (("GET", "/"), 404),
    (("POST", "/api/days"), 405),
    (("PUT", "/api/appointments/abc", booking("Ada")), 404),
    (("PUT", "/api/appointments/1", b"{"), 400),
    (("PUT", "/api/appointments/1", booking("x" * 110_000)), 413),
    (("PUT", "/api/appointments/1", booking("A"), {"Content-Type": "text/plain"}), 415),
    (("PUT", "/api/appointments/1", {}), 422),
    (("OPTIONS", "/api/days"), 200),
    (
        (
            "OPTIONS",
            "/api/appointments/1",
            None,
            {"Origin": "http://x.example", "Access-Control-Request-Method": "PUT"},
        ),
        204,
    ),
]


def test_locked_tables_give_503_in_time_and_delay_nothing_else(
    serve: Serve, app: Flask, sql: Sql
) -> None:
    server = serve()
    slow: list[Response] = []
    days = ask(server, "GET", "/api/days").json
    sql("BEGIN; LOCK TABLE days, appointments, interviewers, interviews IN ACCESS EXCLUSIVE MODE")
    time.sleep(CACHE_MAX_AGE)
    with Threads() as threads:
        for number in range(20):
            path = f"/api/appointments/{1 + number % 4}"
            threads.start(lambda path: slow.append(ask(server, "PUT", path, booking("A"))), path)
            threads.start(lambda: slow.append(ask(server, "GET", "/api/days")))
        time.sleep(0.3)
        assert slow == []
        for request, status in AT_ONCE:
            response = ask(server, *request)
            assert response.status == status
            assert response.seconds < 1
    assert len(slow) == 40
    for response in slow:
        assert_unavailable(response)
    sql("COMMIT")
    assert ask(server, "GET", "/api/days").json == days
    assert ask(server, "PUT", "/api/appointments/2", booking("A")).seconds < 1


def test_a_write_that_timed_out_is_not_made_later(serve: Serve, app: Flask, sql: Sql) -> None:
    server = serve()
    sql("BEGIN; LOCK TABLE interviews IN ACCESS EXCLUSIVE MODE")
    assert_unavailable(ask(server, "PUT", "/api/appointments/2", booking("late")))
    sql("COMMIT")
    response = ask(server, "GET", "/api/appointments")
    assert response.json["2"]["interview"] is None
    assert sql("SELECT count(*) FROM interviews") == [(1,)]


FILL_DISK = """
    CREATE FUNCTION fill_disk() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
      RAISE 'could not extend file: No space left on device' USING ERRCODE = 'disk_full';
    END
    $$;
    CREATE TRIGGER fill_disk BEFORE INSERT OR UPDATE OR DELETE ON interviews
    FOR EACH ROW EXECUTE FUNCTION fill_disk()
"""


def test_on_a_full_disk_writes_get_503_and_reads_go_on(serve: Serve, app: Flask, sql: Sql) -> None:
    server = serve()
    sql(FILL_DISK)
    try:
        for method, path, body in [
            ("PUT", "/api/appointments/2", booking("A")),
            ("DELETE", "/api/appointments/1", None),
        ]:
            response = ask(server, method, path, body)
            assert_unavailable(response)
            assert response.seconds < 1
            assert b"extend" not in response.body
        for path in ("/api/days", "/api/appointments", "/api/interviewers"):
            assert ask(server, "GET", path).status == 200
        assert "No space left on device" in server.log
    finally:
        sql("DROP FUNCTION fill_disk CASCADE")
    assert ask(server, "PUT", "/api/appointments/2", booking("A")).status == 204
    assert sql("SELECT count(*) FROM interviews") == [(2,)]


# PostgreSQL itself


@pytest.fixture(scope="module")
def postgres_of_our_own() -> Iterator[Postgres]:
    """A PostgreSQL that only these tests use."""
    with short_folder() as folder, Postgres(folder / "data").running() as postgres:
        yield postgres


@pytest.fixture
def own(postgres_of_our_own: Postgres) -> Postgres:
    """That PostgreSQL, freshly seeded."""
    with create_app({"DATABASE_URL": postgres_of_our_own.url, "APP_ENV": "test"}).app_context():
        schema.reset()
    return postgres_of_our_own


def test_a_transaction_lost_in_a_crash_was_not_committed(app: Flask) -> None:
    with (
        closing(pool.connect(app.config["DATABASE"])) as connection,
        connection.cursor() as cursor,
    ):
        cursor.execute("SELECT (pg_current_xact_id()::text::bigint + 1000)::text AS later")
        row: Any = cursor.fetchone()
        assert not statements._is_committed(cursor, row.later)


@pytest.mark.parametrize("mode", ["fast", "immediate"])
def test_a_restart_under_load_gives_correct_responses_or_503(
    serve: Serve, own: Postgres, mode: str
) -> None:
    server = serve(DATABASE_URL=own.url)
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
        own.control("restart", "-m", mode)
        # Requests sent two seconds after PostgreSQL is back succeed.
        good_from = time.monotonic() + 2
        wait_for(lambda: len(late) > 50)
    assert {response.status for response in late} == {200, 204}
    assert wrong == []
    for response in responses:
        if response.status not in {200, 204}:
            assert_unavailable(response)
    assert max(response.seconds for response in responses) < 5


def test_a_frozen_postgresql_gives_503_in_time(serve: Serve, own: Postgres) -> None:
    server = serve(DATABASE_URL=own.url)
    for _ in range(10):
        assert ask(server, "PUT", "/api/appointments/2", booking("A")).status == 204
        assert ask(server, "GET", "/api/appointments").status == 200
    responses: list[Response] = []
    with own.silent():
        with Threads() as threads:
            for _ in range(16):
                threads.start(
                    lambda: responses.append(
                        ask(server, "PUT", "/api/appointments/2", booking("B"))
                    )
                )
                threads.start(lambda: responses.append(ask(server, "GET", "/api/days")))
            time.sleep(0.3)
            for request, status in AT_ONCE:
                response = ask(server, *request)
                assert (response.status, response.seconds < 1) == (status, True)
        assert len(responses) == 32
        for response in responses:
            assert_unavailable(response)
        assert_unavailable(ask(server, "GET", "/api/appointments"))
    started = time.monotonic()
    wait_for(lambda: ask(server, "PUT", "/api/appointments/2", booking("C")).status == 204, 5)
    assert time.monotonic() - started < 2
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
            assert response.seconds < 1
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
        wait_for(lambda: ask(server, "GET", "/api/appointments").status == 200, 2)
        assert ask(server, "PUT", "/api/appointments/2", booking("Cyd")).status == 204
        assert sorted(server.workers) == sorted(workers)


def test_a_database_that_does_not_exist_gives_503(serve: Serve, own: Postgres) -> None:
    server = serve(DATABASE_URL=own.url.replace("/postgres?", "/nowhere?"))
    assert_unavailable(ask(server, "GET", "/api/days"))


def test_a_role_without_free_connections_gives_503(serve: Serve, own: Postgres) -> None:
    with connected(own.url) as sql:
        sql("DROP ROLE IF EXISTS nobody_more")
        sql("CREATE ROLE nobody_more LOGIN CONNECTION LIMIT 0")
    server = serve(DATABASE_URL=own.url.replace("postgres@", "nobody_more@"))
    assert_unavailable(ask(server, "GET", "/api/days"))
