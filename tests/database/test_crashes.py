"""A process of PostgreSQL crashes: all connections break, and PostgreSQL recovers.

The postmaster keeps running, so its start time stays the same.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

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

PATH = "/api/appointments/2"


@pytest.fixture(scope="module")
def own() -> Iterator[Postgres]:
    """A PostgreSQL that writes its WAL to disk only for a COMMIT."""
    settings = {
        "wal_writer_delay": "10s",
        "autovacuum": "off",
        "wal_level": "minimal",
        "max_wal_senders": "0",
    }
    with short_folder() as folder, Postgres(folder / "data").running(settings) as postgres:
        yield postgres


@pytest.fixture
def proxy(own: Postgres, short_path: Path) -> Iterator[Proxy]:
    """A faulty network in front of it."""
    with closing(Proxy(own.url, short_path)) as proxy:
        yield proxy


@pytest.fixture
def client(proxy: Proxy) -> FlaskClient:
    app = create_app({"DATABASE_URL": proxy.url, "APP_ENV": "test"})
    with app.app_context():
        schema.reset()
    return app.test_client()


NEXT_ID = "SELECT pg_snapshot_xmax(pg_current_snapshot())::text::bigint"
USE_ID = "SELECT pg_current_xact_id()::text::bigint"


@pytest.mark.parametrize(("is_id_reused", "status"), [(True, 503), (False, 204)])
def test_a_booking_lost_in_a_crash_is_repeated_or_gets_503(
    own: Postgres, proxy: Proxy, client: FlaskClient, is_id_reused: bool, status: int
) -> None:
    with connected(own.url) as sql:
        ((booking_id,),) = sql(NEXT_ID)
    commit, question = proxy.hold(b"COMMIT"), proxy.hold(b"pg_xact_status")
    statuses: list[int] = []
    with Threads() as threads:
        threads.start(lambda: statuses.append(client.put(PATH, json=booking("Ada")).status_code))
        assert commit.reached.wait(5)
        own.crash()
        with connected(own.url) as sql:
            assert sql(USE_ID if is_id_reused else NEXT_ID) == [(booking_id,)]
        commit.passes.set()
        question.passes.set()
    assert statuses == [status]
    with connected(own.url) as sql:
        stored = sql("SELECT student FROM interviews WHERE appointment_id = 2")
    assert stored == ([("Ada",)] if status == 204 else [])
