"""While PostgreSQL is unavailable, every request that needs it gets 503 in time."""

from __future__ import annotations

import io
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from psycopg2.extensions import parse_dsn

from app.database import schema
from tests.support.application import MakeApp
from tests.support.database import Sql, as_url
from tests.support.pace import is_within
from tests.support.problems import assert_open_to_browsers, assert_problem
from tests.support.server import free_port

READS = ["/api/days", "/api/appointments", "/api/interviewers"]
ONE_APPOINTMENT = "/api/appointments/1"


JSON = {"Content-Type": "application/json"}
GOOD = b'{"interview":{"student":"Ada","interviewer":2}}'


WRITES = [("PUT", "/api/appointments/2"), ("DELETE", "/api/appointments/1")]
EVERYTHING = [*(("GET", path) for path in READS), *WRITES]


def assert_unavailable(response: Any, seconds: float) -> None:
    assert response.status_code == 503
    assert_problem(response.headers, response.data, 503)
    assert_open_to_browsers(response.headers)
    assert int(response.headers["Retry-After"]) > 0
    assert "ETag" not in response.headers
    assert is_within(seconds, 5)


# In the order in which the server's statements lock them: no deadlock.
TABLES = ["days", "appointments", "interviewers", "interviews", "available_interviewers"]


@pytest.mark.parametrize("table", TABLES)
def test_a_missing_table_is_503_for_requests_that_need_it(
    client: FlaskClient, sql: Sql, log: io.StringIO, table: str
) -> None:
    needed = {
        "days": [("GET", "/api/days")],
        "appointments": [("GET", "/api/days"), ("GET", "/api/appointments"), *WRITES],
        "interviewers": [("GET", "/api/interviewers"), ("PUT", "/api/appointments/2")],
        "interviews": [("GET", "/api/days"), ("GET", "/api/appointments"), *WRITES],
        "available_interviewers": [("GET", "/api/days")],
    }
    sql(f"BEGIN; LOCK TABLE {', '.join(TABLES)}; DROP TABLE {table} CASCADE; COMMIT")
    for method, path in needed[table]:
        started = time.monotonic()
        response = client.open(path, method=method, data=GOOD, headers=JSON)
        assert_unavailable(response, time.monotonic() - started)
    assert "Traceback" not in log.getvalue()


def test_without_tables_everything_is_503_until_they_are_made(
    app: Flask, client: FlaskClient, sql: Sql
) -> None:
    sql(f"DROP TABLE {', '.join(TABLES)}")
    for method, path in EVERYTHING:
        started = time.monotonic()
        response = client.open(path, method=method, data=GOOD, headers=JSON)
        assert_unavailable(response, time.monotonic() - started)
    with app.app_context():
        schema.prepare()
    for path in READS:
        assert client.get(path).status_code == 200


@contextmanager
def silent_server() -> Iterator[int]:
    """Accept connections and send nothing; yield the port."""
    with socket.create_server(("127.0.0.1", 0), backlog=100) as server:
        yield server.getsockname()[1]


@contextmanager
def rude_server() -> Iterator[int]:
    """Accept connections and close them at once; yield the port."""

    def hang_up(server: socket.socket) -> None:
        while True:
            try:
                server.accept()[0].close()
            except OSError:
                return

    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=hang_up, args=[server])
        thread.start()
        yield server.getsockname()[1]
        server.shutdown(socket.SHUT_RDWR)
        thread.join()


@contextmanager
def no_server() -> Iterator[int]:
    """Yield a port that nobody listens on."""
    yield free_port()


@pytest.mark.parametrize("server", [no_server, rude_server, silent_server])
def test_an_unreachable_database_is_503_in_time(
    app: Flask, make_app: MakeApp, log: io.StringIO, server: Callable[[], Any]
) -> None:
    with server() as port:
        url = f"postgresql://ada:secret@127.0.0.1:{port}/x"
        client = make_app(DATABASE_URL=url).test_client()
        for method, path in [("GET", "/api/days"), *WRITES]:
            started = time.monotonic()
            response = client.open(path, method=method, data=GOOD, headers=JSON)
            assert_unavailable(response, time.monotonic() - started)
    assert "Traceback" not in log.getvalue()
    assert "secret" not in log.getvalue()


def test_a_database_that_does_not_exist_is_503(
    app: Flask, make_app: MakeApp, database_url: str
) -> None:
    url = as_url({**parse_dsn(database_url), "dbname": "nowhere"})
    client = make_app(DATABASE_URL=url).test_client()
    for method, path in EVERYTHING:
        started = time.monotonic()
        response = client.open(path, method=method, data=GOOD, headers=JSON)
        assert_unavailable(response, time.monotonic() - started)


def test_many_requests_to_a_silent_database_all_get_503_in_time(
    make_app: MakeApp,
) -> None:
    with silent_server() as port:
        app = make_app(DATABASE_URL=f"postgresql://ada@127.0.0.1:{port}/x")

        def read(number: int) -> tuple[int, bool]:
            started = time.monotonic()
            status = app.test_client().get(READS[number % 3]).status_code
            return status, is_within(time.monotonic() - started, 5)

        with ThreadPoolExecutor(12) as threads:
            assert set(threads.map(read, range(12))) == {(503, True)}


NEEDS_NO_DATABASE = [
    ("GET", "/nowhere", b"", {}, 404),
    ("PUT", "/api/appointments/abc", GOOD, JSON, 404),
    ("DELETE", "/api/appointments/9999999999", b"", {}, 404),
    ("POST", "/api/days", GOOD, JSON, 405),
    ("PUT", ONE_APPOINTMENT, b"{", JSON, 400),
    ("PUT", ONE_APPOINTMENT, b" " * 200_000, JSON, 413),
    ("PUT", ONE_APPOINTMENT, GOOD, {"Content-Type": "text/plain"}, 415),
    ("PUT", ONE_APPOINTMENT, b"{}", JSON, 422),
    ("OPTIONS", ONE_APPOINTMENT, b"", {}, 200),
    (
        "OPTIONS",
        ONE_APPOINTMENT,
        b"",
        {"Origin": "https://app.example", "Access-Control-Request-Method": "PUT"},
        204,
    ),
]


def test_a_response_that_needs_no_database_does_not_wait_for_one(make_app: MakeApp) -> None:
    with silent_server() as port:
        client = make_app(DATABASE_URL=f"postgresql://ada@127.0.0.1:{port}/x").test_client()
        for method, path, body, headers, status in NEEDS_NO_DATABASE:
            started = time.monotonic()
            response = client.open(path, method=method, data=body, headers=headers)
            assert (path, response.status_code) == (path, status)
            assert is_within(time.monotonic() - started, 1)
