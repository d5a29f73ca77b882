"""What is refused because PostgreSQL has reached one of its own limits: 503, no traceback."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import psycopg2.errors
import pytest
from flask.testing import FlaskClient

from app import create_app
from app.database import schema
from tests.support.database import Sql, connected
from tests.support.folders import short_folder
from tests.support.http import booking
from tests.support.postgres import Postgres

PATH = "/api/appointments/2"


def assert_unavailable(response: Any, caplog: pytest.LogCaptureFixture, reason: str) -> None:
    assert response.status_code == 503
    assert response.mimetype == "application/problem+json"
    assert int(response.headers["Retry-After"]) > 0
    (record,) = [each for each in caplog.records if each.message == "database unavailable"]
    assert (record.levelname, record.exc_info) == ("WARNING", None)
    assert reason in vars(record)["error"]


def test_an_exhausted_sequence(
    client: FlaskClient, caplog: pytest.LogCaptureFixture, sql: Sql
) -> None:
    sql("SELECT setval('interviews_id_seq', 2147483647)")
    response = client.put(PATH, json=booking("Ada"))
    assert_unavailable(response, caplog, "reached maximum value of sequence")
    assert sql("SELECT count(*) FROM interviews") == [(1,)]
    # What needs no new number goes on.
    assert client.get("/api/days").status_code == 200
    assert client.delete("/api/appointments/1").status_code == 204


@pytest.fixture
def postgres_with_a_short_queue() -> Iterator[Postgres]:
    """A PostgreSQL that queues 64 pages of notifications, the least it allows."""
    with short_folder() as folder, Postgres(folder / "data").running() as postgres:
        with (postgres.data / "postgresql.conf").open("a") as conf:
            conf.write("max_notify_queue_pages = 64\n")
        postgres.control("restart", "-m", "fast")
        yield postgres


@pytest.fixture
def client_of_it(postgres_with_a_short_queue: Postgres) -> Iterator[FlaskClient]:
    app = create_app({"DATABASE_URL": postgres_with_a_short_queue.url, "APP_ENV": "test"})
    with app.app_context():
        schema.reset()
    yield app.test_client()
    app.extensions["change_listener"].stop()


def test_a_full_queue_of_notifications(
    caplog: pytest.LogCaptureFixture,
    client_of_it: FlaskClient,
    postgres_with_a_short_queue: Postgres,
) -> None:
    with (
        connected(postgres_with_a_short_queue.url) as listener,
        connected(postgres_with_a_short_queue.url) as writer,
    ):
        # A listener in an open transaction keeps every notification in the queue.
        listener("LISTEN other")
        listener("BEGIN")
        with suppress(psycopg2.errors.ProgramLimitExceeded):
            for _ in range(100):
                writer("SELECT pg_notify('other', repeat('x', 7900))")
        response = client_of_it.put(PATH, json=booking("Ada"))
        assert_unavailable(response, caplog, "too many notifications in the NOTIFY queue")
        assert client_of_it.get("/api/days").status_code == 200
        listener("COMMIT")
        # Also removes what every listener has read; otherwise only a new notification does.
        writer("SELECT pg_notification_queue_usage()")
    assert client_of_it.put(PATH, json=booking("Ada")).status_code == 204
