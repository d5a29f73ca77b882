"""A client that listens and receives nothing fills PostgreSQL's queue of notifications."""

from __future__ import annotations

from contextlib import closing, suppress
from pathlib import Path

import psycopg2.errors
import pytest

from app import create_app
from app.database import change_listener, schema
from app.database.change_listener import ChangeListener
from app.database.connection import connect
from tests.support import tools
from tests.support.database import connected
from tests.support.postgres import Postgres
from tests.support.waiting import wait_for

tools.embedded_postgres_program("postgres")


def test_after_the_client_has_gone_writes_succeed_again(
    short_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(change_listener, "VERIFY_INTERVAL", 0.1)
    with Postgres(short_path).running() as postgres:
        with connected(postgres.url) as sql:
            sql("ALTER SYSTEM SET max_notify_queue_pages = 64")  # since PostgreSQL 17
        postgres.control("restart")
        with create_app({"DATABASE_URL": postgres.url, "APP_ENV": "test"}).app_context():
            schema.reset()
        listener = ChangeListener({"dsn": postgres.url})
        listener.start()
        listener.wait_until_listening(15)
        with connected(postgres.url) as sql:
            with closing(connect({"dsn": postgres.url})) as client:
                client.cursor().execute("LISTEN scheduler_changes")
                client.cursor().execute("BEGIN; SELECT 1")
                with suppress(psycopg2.errors.ProgramLimitExceeded):
                    while True:
                        sql("SELECT pg_notify('scheduler_changes', repeat('x', 7000))")

            def is_booked() -> bool:
                with suppress(psycopg2.errors.ProgramLimitExceeded):
                    sql("UPDATE interviews SET student = 'Ada'")
                return sql("SELECT student FROM interviews") == [("Ada",)]

            wait_for(is_booked, 3)
        listener.stop()
