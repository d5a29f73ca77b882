"""A COMMIT without a reply: its outcome is found out, and no lock remains."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import psycopg2.errors
import pytest
from flask.testing import FlaskClient

from app.database.connection import REPLY_TIMEOUT, connect
from tests.support.database import Sql, connected
from tests.support.http import FREE, booking
from tests.support.pace import within
from tests.support.proxy import Proxy
from tests.support.threads import Threads
from tests.support.waiting import wait_for

PATH = "/api/appointments/2"


def test_a_commit_without_a_reply_gets_204_once(
    client_behind_proxy: FlaskClient, proxy: Proxy, sql: Sql
) -> None:
    proxy.hold_reply(b"COMMIT")
    with within(5):
        assert client_behind_proxy.put(PATH, json=booking("Ada"), headers=FREE).status_code == 204
    assert proxy.count(b"COMMIT") == 1
    assert sql("SELECT student FROM interviews WHERE appointment_id = 2") == [("Ada",)]


@pytest.mark.parametrize("hangs_up", [True, False])
def test_a_commit_that_never_arrives_is_repeated_when_its_transaction_has_ended(
    client_behind_proxy: FlaskClient, proxy: Proxy, sql: Sql, hangs_up: bool
) -> None:
    proxy.hold(b"COMMIT", hangs_up=hangs_up)
    with within(5):
        assert client_behind_proxy.put(PATH, json=booking("Ada"), headers=FREE).status_code == 204
    assert proxy.count(b"COMMIT") == 2
    assert sql("SELECT student FROM interviews WHERE appointment_id = 2") == [("Ada",)]


def test_a_commit_that_arrives_a_second_late_gets_204_once(
    client_behind_proxy: FlaskClient, proxy: Proxy
) -> None:
    commit = proxy.hold(b"COMMIT", hangs_up=True)
    statuses: list[int] = []
    with Threads() as threads:
        threads.start(
            lambda: statuses.append(client_behind_proxy.put(PATH, json=booking("Ada")).status_code)
        )
        assert commit.reached.wait(5)
        time.sleep(1)
        commit.passes.set()
    assert statuses == [204]
    assert proxy.count(b"COMMIT") == 1


def test_a_read_gets_the_connection_of_a_write_without_a_reply(
    client_behind_proxy: FlaskClient, proxy: Proxy
) -> None:
    reply = proxy.hold_reply(b"COMMIT")
    with Threads() as threads:
        threads.start(lambda: client_behind_proxy.put(PATH, json=booking("Ada")))
        assert reply.reached.wait(5)
        with within(5):
            assert client_behind_proxy.application.test_client().get("/api/days").status_code == 200


def test_a_machine_that_vanishes_leaves_no_lock(client: FlaskClient, proxy: Proxy) -> None:
    vanished = connect({"dsn": proxy.url})
    with vanished.cursor() as cursor:
        cursor.execute("BEGIN; DELETE FROM interviews WHERE appointment_id = 1")

    def edit() -> bool:
        return client.put("/api/appointments/1", json=booking("Ada")).status_code == 204

    started = time.monotonic()
    wait_for(edit, 5)
    assert time.monotonic() - started < 2 * REPLY_TIMEOUT
    vanished.close()


LOCKS = {
    # A PUT keeps the interviewer from being deleted, and waits for the interview.
    "PUT": (
        "UPDATE interviews SET student = 'Eve' WHERE appointment_id = 1",
        "DELETE FROM interviewers WHERE id = 2",
    ),
    # A DELETE keeps the appointments from being locked, and waits for the interviews.
    "DELETE": ("LOCK interviews IN SHARE MODE", "LOCK appointments"),
}


@pytest.mark.parametrize("method", LOCKS)
def test_a_write_that_loses_a_deadlock_is_repeated(
    client: FlaskClient, sql: Sql, database_url: str, method: str
) -> None:
    first, second = LOCKS[method]
    statuses: list[int] = []

    def write() -> None:
        json = booking("Ada", 2) if method == "PUT" else None
        response = client.open("/api/appointments/1", method=method, json=json)
        statuses.append(response.status_code)

    def loses() -> bool:
        """Return whether PostgreSQL has cancelled the write and not the other transaction."""
        with Threads() as threads, connected(database_url) as other:
            other(f"BEGIN; {first}")
            threads.start(write)
            wait_for(lambda: sql("SELECT FROM pg_locks WHERE NOT granted"))
            # If the write looks for a deadlock first, PostgreSQL cancels this transaction instead.
            with suppress(psycopg2.errors.DeadlockDetected):
                other(second)
                return True
            return False

    before = deadlocks(sql)
    wait_for(loses)
    assert set(statuses) == {204}
    wait_for(lambda: deadlocks(sql) > before)


def deadlocks(sql: Callable[..., Any]) -> int:
    ((count,),) = sql("SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()")
    return int(count)
