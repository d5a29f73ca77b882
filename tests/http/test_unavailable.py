"""While PostgreSQL is unavailable, every request that needs it gets 503 within 5 seconds."""

from __future__ import annotations

import io
import socket
import threading
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
from tests.support.http import BODY, ask
from tests.support.lists import PATHS
from tests.support.server import free_port
from tests.support.tables import TABLES
from tests.support.unavailable import assert_served_at_once, assert_unavailable

WRITES = [("PUT", "/api/appointments/2"), ("DELETE", "/api/appointments/1")]
EVERYTHING = [*(("GET", path) for path in PATHS), *WRITES]


def assert_all_unavailable(app: Flask) -> None:
    """Check requests of each kind, more at once than the pool has connections."""

    def check(request: tuple[str, str]) -> None:
        assert_unavailable(ask(app.test_client(), *request, BODY))

    with ThreadPoolExecutor(15) as threads:
        list(threads.map(check, EVERYTHING * 3))


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
        assert_unavailable(ask(client, method, path, BODY))
    assert "Traceback" not in log.getvalue()


@pytest.mark.usefixtures("restored_schema")
def test_without_tables_everything_is_503_until_they_are_made(
    app: Flask, client: FlaskClient, sql: Sql
) -> None:
    sql(f"DROP TABLE {', '.join(TABLES)}")
    for method, path in EVERYTHING:
        assert_unavailable(ask(client, method, path, BODY))
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


def test_a_response_that_needs_no_database_does_not_wait_for_one(make_app: MakeApp) -> None:
    with silent_server() as port:
        app = make_app(DATABASE_URL=f"postgresql://ada@127.0.0.1:{port}/x")
        assert_served_at_once(app.test_client())
