"""Locked tables and a full disk: 503 within 5 seconds, and nothing else waits."""

from __future__ import annotations

import time

import pytest

from app.cache.entry import MAX_AGE
from tests.support.database import Sql, refill
from tests.support.http import Response, ask, booking
from tests.support.lists import PATHS
from tests.support.pace import is_within
from tests.support.server import Server
from tests.support.threads import Threads
from tests.support.unavailable import assert_served_at_once, assert_unavailable


@pytest.fixture
def server(shared: Server, sql: Sql) -> Server:
    """A server that shows the fresh seed."""
    refill(sql)
    time.sleep(MAX_AGE)  # nothing older is served from the cache
    return shared


def test_locked_tables_give_503_within_5_seconds_and_delay_nothing_else(
    server: Server, sql: Sql
) -> None:
    slow: list[Response] = []
    days = ask(server, "GET", "/api/days").json
    sql("BEGIN; LOCK TABLE days, appointments, interviewers, interviews IN ACCESS EXCLUSIVE MODE")
    time.sleep(MAX_AGE)
    with Threads() as threads:
        for number in range(20):
            path = f"/api/appointments/{1 + number % 4}"
            threads.start(lambda path: slow.append(ask(server, "PUT", path, booking("A"))), path)
            threads.start(lambda: slow.append(ask(server, "GET", "/api/days")))
        time.sleep(0.3)
        assert slow == []
        assert_served_at_once(server)
    assert len(slow) == 40
    for response in slow:
        assert_unavailable(response)
    sql("COMMIT")
    assert ask(server, "GET", "/api/days").json == days
    assert is_within(ask(server, "PUT", "/api/appointments/2", booking("A")).seconds, 1)


def test_a_write_that_timed_out_is_not_made_later(server: Server, sql: Sql) -> None:
    sql("BEGIN; LOCK TABLE interviews IN ACCESS EXCLUSIVE MODE")
    assert_unavailable(ask(server, "PUT", "/api/appointments/2", booking("late")))
    sql("COMMIT")
    response = ask(server, "GET", "/api/appointments")
    assert response.json["2"]["interview"] is None
    assert sql("SELECT count(*) FROM interviews") == [(1,)]


FILL_DISK = """
    CREATE FUNCTION fill_disk() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
      RAISE 'could not extend file: No space left on device' USING ERRCODE = 'disk_full';
    END
    $$;
    CREATE TRIGGER fill_disk BEFORE INSERT OR UPDATE OR DELETE ON interviews
    FOR EACH ROW EXECUTE FUNCTION fill_disk()
"""


def test_on_a_full_disk_writes_get_503_and_reads_succeed(server: Server, sql: Sql) -> None:
    sql(FILL_DISK)
    try:
        for method, path, body in [
            ("PUT", "/api/appointments/2", booking("A")),
            ("DELETE", "/api/appointments/1", None),
        ]:
            response = ask(server, method, path, body)
            assert_unavailable(response)
            assert is_within(response.seconds, 1)
            assert b"extend" not in response.body
        for path in PATHS:
            assert ask(server, "GET", path).status == 200
        assert "No space left on device" in server.log
    finally:
        sql("DROP FUNCTION fill_disk CASCADE")
    assert ask(server, "PUT", "/api/appointments/2", booking("A")).status == 204
    assert sql("SELECT count(*) FROM interviews") == [(2,)]
