"""While PostgreSQL is unavailable, every request that needs it gets 503 within 5 seconds."""

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
from tests.support.http import BODY_BYTES
from tests.support.lists import PATHS
from tests.support.pace import is_within
from tests.support.problems import assert_open_to_browsers, assert_problem
from tests.support.server import free_port
from tests.support.tables import TABLES

JSON = {"Content-Type": "application/json"}
WRITES = [("PUT", "/api/appointments/2"), ("DELETE", "/api/appointments/1")]
EVERYTHING = [*(("GET", path) for path in PATHS), *WRITES]


def assert_unavailable(client: FlaskClient, method: str, path: str) -> None:
    """Send a request; check that it gets 503 within 5 seconds."""
    started = time.monotonic()
    response = client.open(path, method=method, data=BODY_BYTES, headers=JSON)
    seconds = time.monotonic() - started
    assert response.status_code == 503
    assert_problem(response.headers, response.data, 503)
    assert_open_to_browsers(response.headers)
    assert int(response.headers["Retry-After"]) > 0
    assert "ETag" not in response.headers
    assert is_within(seconds, 5)


def assert_all_unavailable(app: Flask) -> None:
    """Check requests of each kind, more at once than the pool has connections."""
    with ThreadPoolExecutor(15) as threads:
        for checked in [
            threads.submit(assert_unavailable, app.test_client(), method, path)
            for method, path in EVERYTHING * 3
        ]:
            checked.result()


@pytest.mark.usefixtures("restored_schema")
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
    # In the order in which the server's statements lock them: no deadlock.
    sql(f"BEGIN; LOCK TABLE {', '.join(TABLES)}; DROP TABLE {table} CASCADE; COMMIT")
    for method, path in needed[table]:
        assert_unavailable(client, method, path)
    assert "Traceback" not in log.getvalue()


@pytest.mark.usefixtures("restored_schema")
def test_without_tables_everything_is_503_until_they_are_made(
    app: Flask, client: FlaskClient, sql: Sql
) -> None:
    sql(f"DROP TABLE {', '.join(TABLES)}")
    for method, path in EVERYTHING:
        assert_unavailable(client, method, path)
    with app.app_context():
        schema.prepare()
    for path in PATHS:
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
def test_an_unreachable_database_is_503_within_5_seconds(
    app: Flask, make_app: MakeApp, log: io.StringIO, server: Callable[[], Any]
) -> None:
    with server() as port:
        url = f"postgresql://ada:secret@127.0.0.1:{port}/x"
        assert_all_unavailable(make_app(DATABASE_URL=url))
    assert "Traceback" not in log.getvalue()
    assert "secret" not in log.getvalue()


def test_a_database_that_does_not_exist_is_503(
    app: Flask, make_app: MakeApp, database_url: str
) -> None:
    url = as_url({**parse_dsn(database_url), "dbname": "nowhere"})
    assert_all_unavailable(make_app(DATABASE_URL=url))


ONE_APPOINTMENT = "/api/appointments/1"
NEEDS_NO_DATABASE = [
    ("GET", "/nowhere", b"", {}, 404),
    ("PUT", "/api/appointments/abc", BODY_BYTES, JSON, 404),
    ("DELETE", "/api/appointments/9999999999", b"", {}, 404),
    ("POST", "/api/days", BODY_BYTES, JSON, 405),
    ("PUT", ONE_APPOINTMENT, b"{", JSON, 400),
    ("PUT", ONE_APPOINTMENT, b" " * 200_000, JSON, 413),
    ("PUT", ONE_APPOINTMENT, BODY_BYTES, {"Content-Type": "text/plain"}, 415),
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
