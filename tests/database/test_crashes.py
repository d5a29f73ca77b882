"""A process of PostgreSQL crashes: all of its connections break, and PostgreSQL recovers.

It does not start again, so its start time stays the same.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from typing import Any

import psycopg2
import pytest
from flask.testing import FlaskClient

from app import create_app
from app.database import schema
from tests.support.database import connected
from tests.support.folders import short_folder
from tests.support.http import booking
from tests.support.postgres import Postgres
from tests.support.proxy import Proxy
from tests.support.threads import Threads
from tests.support.waiting import wait_for

PATH = "/api/appointments/2"


@pytest.fixture(scope="module")
def own() -> Iterator[Postgres]:
    """A PostgreSQL that writes to its log only when a COMMIT needs it."""
    with short_folder() as folder, Postgres(folder / "data").running() as postgres:
        with (postgres.data / "postgresql.conf").open("a") as conf:
            conf.write("wal_writer_delay = 10s\nautovacuum = off\n")
            conf.write("wal_level = minimal\nmax_wal_senders = 0\n")
        postgres.control("restart", "-m", "fast")
        yield postgres


@pytest.fixture
def proxy(own: Postgres, short_path: Any) -> Iterator[Proxy]:
    """A faulty network in front of it."""
    proxy = Proxy(own.url, short_path)
    yield proxy
    proxy.close()


@pytest.fixture
def client(proxy: Proxy) -> FlaskClient:
    app = create_app({"DATABASE_URL": proxy.url, "APP_ENV": "test"})
    with app.app_context():
        schema.reset()
    return app.test_client()


def crash(own: Postgres) -> None:
    """Kill a backend, and wait until PostgreSQL has recovered."""
    with connected(own.url) as sql:
        ((backend,),) = sql("SELECT pg_backend_pid()")
        os.kill(backend, signal.SIGKILL)
        wait_for(lambda: _is_broken(sql))
    wait_for(lambda: _is_up(own))


def _is_broken(sql: Any) -> bool:
    try:
        sql("SELECT 1")
    except psycopg2.Error:
        return True
    return False


def _is_up(own: Postgres) -> bool:
    try:
        with connected(own.url):
            return True
    except psycopg2.OperationalError:
        return False


NEXT_ID = "SELECT pg_snapshot_xmax(pg_current_snapshot())::text::bigint"
USE_ID = "SELECT pg_current_xact_id()::text::bigint"


@pytest.mark.parametrize(("is_id_reused", "status"), [(True, 503), (False, 204)])
def test_a_booking_that_a_crash_has_lost_is_not_answered_for(
    own: Postgres, proxy: Proxy, client: FlaskClient, is_id_reused: bool, status: int
) -> None:
    with connected(own.url) as sql:
        ((booking_id,),) = sql(NEXT_ID)
    commit, question = proxy.hold(b"COMMIT"), proxy.hold(b"pg_xact_status")
    statuses: list[int] = []
    with Threads() as threads:
        threads.start(lambda: statuses.append(client.put(PATH, json=booking("Ada")).status_code))
        assert commit.reached.wait(5)
        crash(own)
        with connected(own.url) as sql:
            assert sql(USE_ID if is_id_reused else NEXT_ID) == [(booking_id,)]
        commit.passes.set()
        question.passes.set()
    assert statuses == [status]
    with connected(own.url) as sql:
        stored = sql("SELECT student FROM interviews WHERE appointment_id = 2")
    assert stored == ([("Ada",)] if status == 204 else [])
