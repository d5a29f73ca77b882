"""Stored answers: used as long as nothing has changed, and never a moment longer."""

from __future__ import annotations

import gzip
import itertools
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

from app import create_app
from app.cache import data_version
from app.cache.middleware import Cache
from app.database import schema
from tests.support.database import LISTENERS, Sql
from tests.support.http import Response, ask, booking
from tests.support.processes import frozen
from tests.support.proxy import Proxy
from tests.support.server import Serve, Server
from tests.support.threads import Threads
from tests.support.waiting import wait_for

PATHS = ["/api/days", "/api/appointments", "/api/interviewers"]
each_path = pytest.mark.parametrize("path", PATHS)


@pytest.fixture
def stored(app: Flask, client: FlaskClient) -> Iterator[FlaskClient]:
    """A client whose three GETs are answered from stored responses."""
    feed = app.extensions["changes"]
    feed.start()
    wait_for(lambda: feed.is_reliable)
    for path in PATHS:
        assert client.get(path).status_code == 200
    yield client
    feed.stop()


# Validators


@each_path
def test_a_get_has_a_validator_that_changes_with_the_data(
    stored: FlaskClient, sql: Sql, path: str
) -> None:
    first = stored.get(path)
    assert first.headers["Cache-Control"] == "no-cache"
    tag = first.headers["ETag"]
    assert stored.get(path).headers["ETag"] == tag
    sql("INSERT INTO days (name) VALUES ('Sunday')")
    sql("INSERT INTO appointments (time) VALUES ('5pm')")
    sql("INSERT INTO interviewers (name, avatar) VALUES ('x', 'x')")
    wait_for(lambda: stored.get(path).headers["ETag"] != tag)


@each_path
def test_what_is_unchanged_is_not_sent_again(stored: FlaskClient, path: str) -> None:
    tag = stored.get(path).headers["ETag"]
    strong = tag.removeprefix("W/")
    for condition in (tag, strong, f'"x", {tag}', f'{strong}, "y"', "*", f'W/"a" , {tag},"b"'):
        answer = stored.get(path, headers={"If-None-Match": condition})
        assert (answer.status_code, answer.data) == (304, b"")
        assert answer.headers["ETag"] == tag
        assert answer.headers["Cache-Control"] == "no-cache"
        assert "Accept-Encoding" in answer.headers["Vary"]
        assert "Content-Type" not in answer.headers
    for condition in ('"x"', 'W/"x", "y"', "", "x", f"{tag[:-1]}"):
        answer = stored.get(path, headers={"If-None-Match": condition})
        assert answer.status_code == 200
        assert answer.data == stored.get(path).data


@each_path
def test_head_is_get_without_the_body(stored: FlaskClient, path: str) -> None:
    get, head = stored.get(path), stored.head(path)
    assert (head.status_code, head.data) == (200, b"")
    differing = {"X-Request-ID"}
    assert {n: v for n, v in head.headers if n not in differing} == {
        n: v for n, v in get.headers if n not in differing
    }
    assert stored.head(path, headers={"If-None-Match": "*"}).status_code == 304


@each_path
def test_a_query_and_a_trailing_slash_change_nothing(stored: FlaskClient, path: str) -> None:
    plain = stored.get(path)
    for same in (f"{path}/", f"{path}?x=1", f"{path}/?", f"{path}?{'y' * 5000}"):
        answer = stored.get(same)
        assert (answer.status_code, answer.data) == (200, plain.data)
        assert answer.headers["ETag"] == plain.headers["ETag"]
        assert (
            stored.get(same, headers={"If-None-Match": answer.headers["ETag"]}).status_code == 304
        )


def test_a_write_that_is_refused_leaves_the_validator(stored: FlaskClient) -> None:
    tag = stored.get("/api/appointments").headers["ETag"]
    free = {"If-None-Match": "*"}
    answer = stored.put("/api/appointments/1", json=booking("Ada"), headers=free)
    assert answer.status_code == 412
    assert stored.get("/api/appointments").headers["ETag"] == tag


# Compression


@pytest.fixture
def week(environ: dict[str, str], sql: Sql) -> Iterator[FlaskClient]:
    """A client of an application with the development seed: its bodies are worth compressing."""
    app = create_app({**environ, "APP_ENV": "development"})
    with app.app_context():
        schema.reset()
    sql("INSERT INTO days (name) VALUES ('Saturday'), ('Sunday')")
    yield app.test_client()
    app.extensions["changes"].stop()


@each_path
def test_a_body_worth_it_is_compressed_for_who_accepts_that(week: FlaskClient, path: str) -> None:
    plain = week.get(path)
    assert len(plain.data) > 500
    assert "Content-Encoding" not in plain.headers
    accepting = [
        "gzip",
        "gzip, deflate, br, zstd",
        "gzip;q=0.5",
        "*",
        "GZIP",
        "br;q=1.0, gzip;q=0.8",
    ]
    for accepted in accepting:
        answer = week.get(path, headers={"Accept-Encoding": accepted})
        assert answer.headers["Content-Encoding"] == "gzip", accepted
        assert gzip.decompress(answer.data) == plain.data
        assert int(answer.headers["Content-Length"]) == len(answer.data) < len(plain.data)
        assert answer.headers["Content-Type"] == "application/json"
        assert answer.headers["ETag"] == plain.headers["ETag"]
        tag = {"If-None-Match": answer.headers["ETag"], "Accept-Encoding": accepted}
        unchanged = week.get(path, headers=tag)
        assert (unchanged.status_code, unchanged.data) == (304, b"")
        assert "Content-Encoding" not in unchanged.headers
    for refused in (
        "",
        "identity",
        "br",
        "gzip;q=0",
        "gzip;q=0.0, *",
        "*;q=0",
        "deflate, gzip;q=0",
    ):
        answer = week.get(path, headers={"Accept-Encoding": refused})
        assert "Content-Encoding" not in answer.headers, refused
        assert answer.data == plain.data
    for answer in (plain, week.head(path), week.get(path, headers={"Accept-Encoding": "gzip"})):
        assert "Accept-Encoding" in answer.headers["Vary"]


def test_an_accept_encoding_that_goes_on_and_on_is_not_read(week: FlaskClient) -> None:
    for repetitions in (200, 100_000):
        answer = week.get("/api/days", headers={"Accept-Encoding": "gzip, " * repetitions})
        assert answer.status_code == 200
        assert "Content-Encoding" not in answer.headers


def test_a_small_body_is_not_compressed(stored: FlaskClient) -> None:
    answer = stored.get("/api/days", headers={"Accept-Encoding": "gzip"})
    assert "Content-Encoding" not in answer.headers
    assert answer.json == stored.get("/api/days").json


def test_an_error_has_no_validator(stored: FlaskClient) -> None:
    for path in ("/", "/api/days/1", "/api/appointments/1"):
        answer = stored.get(path)
        assert answer.status_code in {404, 405}
        assert "ETag" not in answer.headers


# What a stored answer carries


def test_a_stored_answer_carries_the_headers_of_its_own_request(environ: dict[str, str]) -> None:
    good, other = "https://good.example", "http://localhost:8000"
    app = create_app({**environ, "CORS_ORIGINS": f"{good},{other}"})
    with app.app_context():
        schema.reset()
    client = app.test_client()
    app.extensions["changes"].start()
    wait_for(lambda: app.extensions["changes"].is_reliable)
    for turn in range(3):
        for origin in (good, other, "https://evil.example", None):
            headers = {
                "X-Request-ID": f"{turn}-{origin}"[:5],
                **({"Origin": origin} if origin else {}),
            }
            answer = client.get("/api/days", headers=headers)
            allowed = origin if origin in {good, other} else None
            assert answer.headers.get("Access-Control-Allow-Origin") == allowed
            assert answer.headers.getlist("X-Request-ID") == [headers["X-Request-ID"]]
            assert answer.headers.getlist("X-Content-Type-Options") == ["nosniff"]
            (vary,) = answer.headers.getlist("Vary")
            assert sorted(vary.split(", ")) == ["Accept-Encoding", "Origin"]
            assert "Strict-Transport-Security" not in answer.headers
        over_https = client.get("/api/days", base_url="https://localhost")
        assert "Strict-Transport-Security" in over_https.headers
    app.extensions["changes"].stop()


def test_two_servers_give_the_same_validator(serve: Serve, app: Flask) -> None:
    servers = [serve(), serve()]
    for path in PATHS:
        tags = {ask(server, "GET", path).headers["Etag"] for server in servers for _ in range(6)}
        assert len(tags) == 1


# How often PostgreSQL is asked


def queries(proxy: Proxy) -> int:
    """How often the interviewers were asked for."""
    return sum(b"interviewers" in s and b"avatar" in s for s in proxy.statements)


def wait_until_stored(server: Server, proxy: Proxy, path: str) -> None:
    """Ask until PostgreSQL is not asked any more."""

    def is_stored() -> bool:
        before = len(proxy.statements)
        ask(server, "GET", path)
        return len(proxy.statements) == before

    wait_for(is_stored)


def warm(server: Server, proxy: Proxy) -> None:
    """Let each worker store the interviewers, while the others stand still."""
    workers = server.workers
    for warmed in workers:
        with frozen(worker for worker in workers if worker != warmed):
            wait_until_stored(server, proxy, "/api/interviewers")


@contextmanager
def locked(sql: Sql) -> Iterator[None]:
    """Nobody may read the interviewers meanwhile."""
    sql("BEGIN; LOCK TABLE interviewers IN ACCESS EXCLUSIVE MODE")
    try:
        yield
    finally:
        sql("COMMIT")


def test_while_nothing_changes_postgresql_is_not_asked(
    serve: Serve, app: Flask, proxy: Proxy
) -> None:
    server = serve(DATABASE_URL=proxy.url)
    warm(server, proxy)
    before = queries(proxy)
    assert 2 <= before <= 4
    for _ in range(100):
        assert ask(server, "GET", "/api/interviewers").status == 200
    assert queries(proxy) == before


def test_a_change_costs_each_process_one_query_however_many_wait(
    serve: Serve, app: Flask, proxy: Proxy, sql: Sql
) -> None:
    server = serve(DATABASE_URL=proxy.url)
    warm(server, proxy)
    before = queries(proxy)
    answers: list[Response] = []
    sql("UPDATE interviewers SET name = 'Eve'")
    with Threads() as threads, locked(sql):
        for _ in range(50):
            threads.start(lambda: answers.append(ask(server, "GET", "/api/interviewers")))
        # All wait for the lock, whether they asked PostgreSQL or wait for who did.
        time.sleep(0.7)
        assert answers == []
    assert {answer.status for answer in answers} == {200}
    assert {answer.json["1"]["name"] for answer in answers} == {"Eve"}
    assert queries(proxy) - before == 2


def test_a_process_that_was_never_asked_before_asks_once_too(
    serve: Serve, app: Flask, proxy: Proxy, sql: Sql
) -> None:
    server = serve(DATABASE_URL=proxy.url, WEB_CONCURRENCY="1")
    wait_until_stored(server, proxy, "/api/days")
    answers: list[Response] = []
    with Threads() as threads, locked(sql):
        for _ in range(50):
            threads.start(lambda: answers.append(ask(server, "GET", "/api/interviewers")))
        time.sleep(0.7)
        assert answers == []
    assert [answer.status for answer in answers] == [200] * 50
    assert queries(proxy) == 1


def test_after_one_process_showed_a_change_none_shows_the_past(
    serve: Serve, app: Flask, proxy: Proxy, sql: Sql
) -> None:
    server = serve(DATABASE_URL=proxy.url)
    warm(server, proxy)
    # A change that nobody has told of yet, however fast somebody reads it.
    sql("BEGIN; SET LOCAL session_replication_role = replica")
    sql("UPDATE interviewers SET name = 'Eve'; COMMIT")
    # With a query string it is not answered from what is stored.
    paths = ["/api/interviewers?anew", *["/api/interviewers"] * 20]
    assert [ask(server, "GET", path).json["1"]["name"] for path in paths] == ["Eve"] * 21


@pytest.fixture
def another_process() -> Callable[[str, int], bool]:
    """What another process says that it sees at a path, in the present generation."""
    own = data_version._own

    def sees(path: str, seen: int) -> bool:
        data_version.take(own + 1)
        try:
            return data_version.agrees(path, seen, data_version.current())
        finally:
            data_version.take(own)

    return sees


def test_processes_that_see_the_same_agree(another_process: Callable[[str, int], bool]) -> None:
    now = data_version.current()
    assert data_version.agrees("/api/days", 7, now)
    assert another_process("/api/days", 7)
    assert another_process("/api/interviewers", 8)
    assert data_version.agrees("/api/days", 7, now)
    assert data_version.current() == now


def test_who_sees_something_else_makes_what_is_stored_old(
    another_process: Callable[[str, int], bool],
) -> None:
    now = data_version.current()
    assert data_version.agrees("/api/days", 7, now)
    assert not another_process("/api/days", 8)
    assert data_version.current() != now
    # The other asks again, and shows it to somebody.
    assert another_process("/api/days", 8)
    shown_in = data_version.current()
    # A query that was begun before may have brought the past.
    assert not data_version.agrees("/api/days", 7, now)
    assert data_version.current() != shown_in
    assert data_version.agrees("/api/days", 9, data_version.current())


def test_a_query_that_saw_something_else_than_another_process_is_made_again(
    stored: FlaskClient, another_process: Callable[[str, int], bool]
) -> None:
    expected = stored.get("/api/days").data
    data_version.advance()
    another_process("/api/days", 7)
    before = data_version.current()
    assert stored.get("/api/days").data == expected
    after = data_version.current()
    assert after != before
    # Made in the new generation, in which it is stored.
    assert stored.get("/api/days").data == expected
    assert not another_process("/api/days", 7)
    assert data_version.current() != after


@each_path
def test_what_is_stored_does_not_depend_on_who_asked_for_it(
    stored: FlaskClient, sql: Sql, path: str
) -> None:
    # No name of a host (RFC 1035); Werkzeug refuses it.
    strange = {"Host": "a..b"}
    first = stored.get(path, headers=strange)
    sql("UPDATE days SET name = 'x'; UPDATE interviewers SET name = 'x'")
    sql("UPDATE interviews SET student = 'x'")
    wait_for(lambda: stored.get(path, headers=strange).data != first.data)
    assert stored.get(path, headers=strange).status_code == first.status_code == 200


def test_who_waits_for_a_query_that_fails_is_answered_too(
    serve: Serve, app: Flask, sql: Sql
) -> None:
    server = serve()
    for _ in range(10):
        ask(server, "GET", "/api/interviewers")
    sql("UPDATE interviewers SET name = 'Eve'")
    answers: list[Response] = []
    with locked(sql), Threads() as threads:
        for _ in range(20):
            threads.start(lambda: answers.append(ask(server, "GET", "/api/interviewers")))
    assert {(answer.status, answer.headers.get("Retry-After")) for answer in answers} == {
        (503, "2")
    }
    assert max(answer.seconds for answer in answers) < 5
    answer = ask(server, "GET", "/api/interviewers")
    assert answer.json["1"]["name"] == "Eve"


def test_strange_paths_and_queries_store_nothing(stored: FlaskClient, app: Flask) -> None:
    cache: Any = app.wsgi_app
    while not isinstance(cache, Cache):
        cache = cache.wsgi_app
    for number in range(500):
        stored.get(f"/api/days?{number}")
        stored.get(f"/api/days{number}")
        stored.get("/api/days" + "/" * (number % 50))
        stored.head(f"/api/appointments/{number}")
    assert set(cache._queries) == set(PATHS)


# Never stale

SLOTS = range(101, 109)


@pytest.fixture
def wide(app: Flask, sql: Sql) -> None:
    """Days that have one slot each, for one writer each."""
    for slot in SLOTS:
        sql(f"INSERT INTO days VALUES ({slot}, 'x')")
        sql(f"INSERT INTO appointments VALUES ({slot}, '12pm', {slot})")


class Writer:
    """Writes to a slot of its own, and looks whether what was answered shows."""

    def __init__(self, server: Server, slot: int) -> None:
        self.server = server
        self.slot = slot
        self.answered = 0
        self.refused = 0
        self.stale: list[str] = []

    def run(self, stopping: threading.Event, writes: int) -> None:
        path = f"/api/appointments/{self.slot}"
        for turn in range(writes):
            if stopping.is_set():
                return
            student = None if turn % 3 == 2 else f"{self.slot} {turn}"
            method, body = ("DELETE", None) if student is None else ("PUT", booking(student))
            status = self.ask(method, path, body)
            if status and status.status == 204:
                self.answered += 1
                self.look(student)

    def ask(self, method: str, path: str, body: Any = None) -> Response | None:
        """Ask; None where the worker was killed meanwhile."""
        try:
            answer = ask(self.server, method, path, body)
        except (OSError, EOFError, ValueError):
            return None
        except Exception as error:
            if "http.client" in type(error).__module__:
                return None
            raise
        assert answer.status in {200, 204, 503}, answer
        self.refused += answer.status == 503
        return answer

    def look(self, student: str | None) -> None:
        if (slots := self.ask("GET", "/api/appointments")) and slots.status == 200:
            interview = slots.json[str(self.slot)]["interview"]
            if (interview and interview["student"]) != student:
                self.stale.append(f"{student} answered, {interview} shown")
        if (days := self.ask("GET", "/api/days")) and days.status == 200:
            (spots,) = [day["spots"] for day in days.json if day["id"] == self.slot]
            if spots != (student is None):
                self.stale.append(f"{student} answered, {spots} spots shown")


def race(server: Server, writes: int, disturb: Callable[[], Any] | None = None) -> list[Writer]:
    """Let eight write and eight read through both workers; give the writers."""
    writers = [Writer(server, slot) for slot in SLOTS]
    with Threads() as reading:
        for number in range(8):
            reader = Writer(server, SLOTS[0])
            reading.repeat(reader.ask, "GET", PATHS[number % 2])
        if disturb:
            reading.repeat(disturb)
        with Threads() as writing:
            for writer in writers:
                writing.start(writer.run, reading.stopping, writes)
            writing.join()
    return writers


def test_a_read_sees_every_write_that_was_answered_before(serve: Serve, wide: None) -> None:
    writers = race(serve(), 190)
    assert [writer.stale for writer in writers] == [[]] * 8
    assert [writer.answered for writer in writers] == [190] * 8
    assert [writer.refused for writer in writers] == [0] * 8


def test_also_while_listeners_are_cut_off(serve: Serve, wide: None, sql: Sql) -> None:
    def cut() -> None:
        sql(f"SELECT pg_terminate_backend(pid) FROM {LISTENERS}")
        time.sleep(0.05)

    writers = race(serve(), 60, cut)
    assert [writer.stale for writer in writers] == [[]] * 8
    assert [writer.answered for writer in writers] == [60] * 8


def test_also_when_a_worker_is_killed_and_after_a_reload(serve: Serve, wide: None) -> None:
    server = serve()
    turns = itertools.count()

    def disturb() -> None:
        time.sleep(0.5)
        turn = next(turns)
        if turn in {0, 2}:
            os.kill(server.workers[0], signal.SIGKILL)
        elif turn == 1:
            server.process.send_signal(signal.SIGHUP)

    writers = race(server, 100, disturb)
    assert [writer.stale for writer in writers] == [[]] * 8
    assert sum(writer.answered for writer in writers) > 500


def test_a_change_in_psql_is_seen_within_a_second(serve: Serve, app: Flask, sql: Sql) -> None:
    server = serve()

    def shown() -> list[str]:
        answers = [ask(server, "GET", "/api/appointments").json for _ in range(5)]
        return [slots["1"]["interview"]["student"] for slots in answers]

    for turn in range(30):
        shown()
        sql("UPDATE interviews SET student = %s WHERE appointment_id = 1", [str(turn)])
        wait_for(lambda: shown() == [str(turn)] * 5, 1)  # noqa: B023


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE days SET name = 'x'",
        "DELETE FROM appointments WHERE id = 4",
        "DELETE FROM available_interviewers WHERE day_id = 1",
        "TRUNCATE available_interviewers",
        "INSERT INTO days (name) VALUES ('x')",
        "ALTER TABLE days ALTER name TYPE text USING 'x'",
        "BEGIN; ALTER TABLE days DISABLE TRIGGER USER; UPDATE days SET name = 'x';"
        " ALTER TABLE days ENABLE TRIGGER USER; COMMIT",
    ],
)
def test_a_change_of_any_table_in_psql_is_seen_within_a_second(
    stored: FlaskClient, sql: Sql, statement: str
) -> None:
    before = stored.get("/api/days").data
    sql(statement)
    wait_for(lambda: stored.get("/api/days").data != before, 1)


def test_a_reset_is_seen_at_once_by_both_workers(serve: Serve, app: Flask) -> None:
    server = serve()
    seeded = [ask(server, "GET", path).json for path in PATHS]
    for _ in range(10):
        assert ask(server, "PUT", "/api/appointments/2", booking("Ada")).status == 204
        for path in PATHS * 2:
            ask(server, "GET", path)
        assert ask(server, "GET", "/api/debug/reset").status == 200
        for _ in range(4):
            assert [ask(server, "GET", path).json for path in PATHS] == seeded


def test_while_the_feed_is_down_reads_are_right_all_the_same(
    serve: Serve, app: Flask, sql: Sql, gap: Callable[[], Any]
) -> None:
    server = serve()

    def student() -> Any:
        answer = wait_for(lambda: _ok(ask(server, "GET", "/api/appointments")))
        return answer.json["1"]["interview"]["student"]

    with Threads() as threads:  # connections for both workers: later nobody gets a new one
        for _ in range(24):
            threads.start(ask, server, "PUT", "/api/appointments/2", booking("Bob"))
    with gap():
        for turn in range(10):
            sql("UPDATE interviews SET student = %s WHERE appointment_id = 1", [f"psql {turn}"])
            wait_for(lambda: student() == f"psql {turn}", 1)  # noqa: B023
            put = booking(f"put {turn}")
            wait_for(lambda: ask(server, "PUT", "/api/appointments/1", put).status == 204)  # noqa: B023
            assert [student() for _ in range(4)] == [f"put {turn}"] * 4
    sql("UPDATE interviews SET student = 'after' WHERE appointment_id = 1")
    wait_for(lambda: [student() for _ in range(4)] == ["after"] * 4, 1)


def _ok(answer: Response) -> Response | None:
    assert answer.status in {200, 503}
    return answer if answer.status == 200 else None
