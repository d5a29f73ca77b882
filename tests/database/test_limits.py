"""PostgreSQL has reached one of its limits: 503, and a warning without a traceback."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, suppress

import psycopg2.errors
import pytest
from flask.testing import FlaskClient

from app import create_app
from app.database import change_listener, schema
from app.database.change_listener import ChangeListener
from app.database.connection import connect
from tests.support.database import Sql, connected
from tests.support.folders import short_folder
from tests.support.http import ask, booking
from tests.support.postgres import Postgres
from tests.support.unavailable import assert_unavailable
from tests.support.waiting import wait_for

PATH = "/api/appointments/2"


def assert_logged(caplog: pytest.LogCaptureFixture, reason: str) -> None:
    (record,) = [each for each in caplog.records if each.message == "database unavailable"]
    assert (record.levelname, record.exc_info) == ("WARNING", None)
    assert reason in vars(record)["error"]


def test_an_exhausted_sequence_gives_503(
    client: FlaskClient, caplog: pytest.LogCaptureFixture, sql: Sql
) -> None:
    sql("SELECT setval('interviews_id_seq', 2147483647)")
    assert_unavailable(ask(client, "PUT", PATH, booking("Ada")))
    assert_logged(caplog, "reached maximum value of sequence")
    assert sql("SELECT count(*) FROM interviews") == [(1,)]
    # Requests that need no new number succeed.
    assert client.get("/api/days").status_code == 200
    assert client.delete("/api/appointments/1").status_code == 204


@pytest.fixture(scope="module")
def own() -> Iterator[Postgres]:
    """A PostgreSQL that queues 64 pages of notifications, the minimum."""
    settings = {"max_notify_queue_pages": "64"}  # since PostgreSQL 17
    with short_folder() as folder, Postgres(folder / "data").running(settings) as postgres:
        yield postgres


@pytest.fixture
def client_with_a_short_queue(own: Postgres) -> Iterator[FlaskClient]:
    app = create_app({"DATABASE_URL": own.url, "APP_ENV": "test"})
    with app.app_context():
        schema.reset()
    yield app.test_client()
    app.extensions["change_listener"].stop()


def fill_the_queue(sql: Sql, channel: str) -> None:
    with suppress(psycopg2.errors.ProgramLimitExceeded):
        while True:
            sql(f"SELECT pg_notify('{channel}', repeat('x', 7900))")


def test_a_full_queue_of_notifications_gives_503(
    caplog: pytest.LogCaptureFixture, client_with_a_short_queue: FlaskClient, own: Postgres
) -> None:
    with connected(own.url) as listener, connected(own.url) as writer:
        # A listener in an open transaction keeps every notification in the queue.
        listener("LISTEN other")
        listener("BEGIN")
        fill_the_queue(writer, "other")
        assert_unavailable(ask(client_with_a_short_queue, "PUT", PATH, booking("Ada")))
        assert_logged(caplog, "too many notifications in the NOTIFY queue")
        assert client_with_a_short_queue.get("/api/days").status_code == 200
        listener("COMMIT")
        # Removes the notifications that every listener has read. Otherwise only a new one does.
        writer("SELECT pg_notification_queue_usage()")
    assert client_with_a_short_queue.put(PATH, json=booking("Ada")).status_code == 204


def test_after_the_client_that_filled_the_queue_has_gone_writes_succeed_again(
    client_with_a_short_queue: FlaskClient, own: Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(change_listener, "VERIFY_INTERVAL", 0.1)
    receiver = ChangeListener({"dsn": own.url})
    receiver.start()
    receiver.wait_until_listening(15)
    with connected(own.url) as sql:
        with closing(connect({"dsn": own.url})) as client:
            client.cursor().execute("LISTEN scheduler_changes")
            client.cursor().execute("BEGIN; SELECT 1")
            fill_the_queue(sql, "scheduler_changes")

        def is_booked() -> bool:
            with suppress(psycopg2.errors.ProgramLimitExceeded):
                sql("UPDATE interviews SET student = 'Ada'")
            return sql("SELECT student FROM interviews") == [("Ada",)]

        wait_for(is_booked, 3)
    receiver.stop()
