"""Reads are correct while a COMMIT is in flight: delayed, unanswered, or from a killed worker.

The proxy between the server and PostgreSQL holds back the COMMIT or its reply.
"""

from __future__ import annotations

import http.client
import json
import os
import signal
import time
from contextlib import closing
from typing import Any

import pytest
from flask import Flask

from tests.support.database import Sql
from tests.support.http import ask, booking
from tests.support.processes import worker_of
from tests.support.proxy import Hold, Proxy
from tests.support.server import Serve, Server
from tests.support.threads import Threads
from tests.support.waiting import wait_for

# Enough new connections to reach both workers.
READS = 8


def students(server: Server, reads: int = READS) -> set[str | None]:
    """Return the students that several reads show in appointment 2."""
    shown = set()
    for _ in range(reads):
        response = ask(server, "GET", "/api/appointments")
        assert response.status == 200
        interview = response.json["2"]["interview"]
        shown.add(interview and interview["student"])
    return shown


def free_spots(server: Server) -> set[int]:
    """Return the free spots that several reads show on the day of appointment 2."""
    responses = [ask(server, "GET", "/api/days") for _ in range(READS)]
    assert {response.status for response in responses} == {200}
    return {response.json[0]["spots"] for response in responses}


@pytest.fixture
def server(serve: Serve, app: Flask, proxy: Proxy) -> Server:
    """A server behind the proxy, with the lists cached in both workers."""
    server = serve(DATABASE_URL=proxy.url)
    assert students(server) == {None}
    return server


def book(server: Server, student: str, statuses: list[int]) -> None:
    statuses.append(ask(server, "PUT", "/api/appointments/2", booking(student)).status)


def test_while_a_commit_is_in_flight_reads_show_what_was_before_and_then_what_is(
    server: Server, proxy: Proxy
) -> None:
    commit = proxy.hold(b"COMMIT")
    statuses: list[int] = []
    with Threads() as threads:
        threads.start(book, server, "Ada", statuses)
        assert commit.reached.wait(30)
        assert students(server) == {None}
        assert free_spots(server) == {1}
        commit.passes.set()
    assert statuses == [204]
    assert students(server) == {"Ada"}
    assert free_spots(server) == {0}


def test_after_a_commit_whose_reply_is_lost_no_read_is_stale(server: Server, proxy: Proxy) -> None:
    with Threads() as readers:
        for _ in range(4):
            readers.repeat(students, server)
        for turn in range(8):
            proxy.breaks_after.append(b"COMMIT")
            response = ask(server, "PUT", "/api/appointments/2", booking(str(turn)))
            assert response.status == 204
            assert students(server) == {str(turn)}
    assert proxy.count(b"pg_xact_status") >= 8


def test_after_a_commit_that_outlives_its_connection_no_read_is_stale(
    server: Server, proxy: Proxy
) -> None:
    succeeded = 0
    with Threads() as readers:
        for _ in range(4):
            readers.repeat(students, server)
        for turn in range(5):
            commit = proxy.hold(b"COMMIT", hangs_up=True)
            statuses: list[int] = []
            with Threads() as threads:
                threads.start(book, server, str(turn), statuses)
                assert commit.reached.wait(30)
                time.sleep(0.1)
                commit.passes.set()
            # 503: the server gave up before the COMMIT passed.
            assert statuses[0] in {204, 503}
            if statuses == [204]:
                succeeded += 1
                assert students(server) == {str(turn)}
    assert succeeded


def test_a_read_does_not_share_a_query_that_began_before_it(
    serve: Serve, app: Flask, proxy: Proxy
) -> None:
    server = serve(DATABASE_URL=proxy.url, WEB_CONCURRENCY="1")
    early: list[set[str | None]] = []
    late: list[set[str | None]] = []
    reply = proxy.hold_reply(b"interviews.student")
    with Threads() as threads:
        threads.start(lambda: early.append(students(server, 1)))
        assert reply.reached.wait(30)
        assert ask(server, "PUT", "/api/appointments/2", booking("Ada")).status == 204
        for _ in range(10):
            threads.start(lambda: late.append(students(server, 1)))
        time.sleep(0.3)
        reply.passes.set()
    assert early in ([{None}], [{"Ada"}])
    assert late == [{"Ada"}] * 10


def _kill_the_worker_that_commits(server: Server, commit: Hold) -> None:
    """Send a booking, and kill its worker while the COMMIT is held back."""
    with closing(http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)) as connection:
        body = json.dumps(booking("Ada"))
        connection.request("PUT", "/api/appointments/2", body, {"Content-Type": "application/json"})
        assert commit.reached.wait(30)
        port = connection.sock.getsockname()[1]
        os.kill(worker_of(server.workers, port), signal.SIGKILL)
        with pytest.raises((ConnectionError, http.client.RemoteDisconnected)):
            connection.getresponse()


def _booked(sql: Sql) -> bool:
    return sql("SELECT student FROM interviews WHERE appointment_id = 2") == [("Ada",)]


def test_a_worker_killed_before_the_reply_to_its_commit_leaves_no_stale_read(
    server: Server, proxy: Proxy, sql: Sql
) -> None:
    commit = proxy.hold_reply(b"COMMIT")
    _kill_the_worker_that_commits(server, commit)
    wait_for(lambda: _booked(sql))

    def still_reads_correctly() -> bool:
        time.sleep(0.05)
        is_replaced = server.log.count("listening for changes") == 3
        assert students(server) == {"Ada"}
        assert free_spots(server) == {0}
        return is_replaced

    # While the worker is missing, and beyond the age of what was cached before.
    wait_for(still_reads_correctly)
    until = time.monotonic() + 1.5
    while time.monotonic() < until:
        still_reads_correctly()


def test_a_worker_killed_during_a_commit_after_a_reload_does_not_end_the_caching(
    server: Server, proxy: Proxy, app: Flask
) -> None:
    # After a reload the replacement of a killed worker gets another worker's index.
    old = set(server.workers)
    server.process.send_signal(signal.SIGHUP)
    wait_for(lambda: len(server.workers) == 2 and not old & set(server.workers))
    wait_for(lambda: server.log.count("listening for changes") >= 4)
    commit = proxy.hold(b"COMMIT")
    _kill_the_worker_that_commits(server, commit)
    wait_for(lambda: server.log.count("listening for changes") >= 5)

    def is_cached() -> bool:
        students(server)
        before = proxy.count(b"json_object_agg")
        students(server, 4 * READS)
        return proxy.count(b"json_object_agg") - before <= 4

    wait_for(is_cached)


@pytest.mark.parametrize("is_replaced", [False, True], ids=["at once", "after its replacement"])
def test_a_commit_that_outlives_its_worker_is_seen_within_a_second(
    server: Server, proxy: Proxy, sql: Sql, is_replaced: bool
) -> None:
    commit = proxy.hold(b"COMMIT")
    _kill_the_worker_that_commits(server, commit)
    # PostgreSQL ends a transaction that has been idle for three seconds.
    until = time.monotonic() + 2.0
    while is_replaced and time.monotonic() < until:
        time.sleep(0.05)
        is_replaced = server.log.count("listening for changes") < 3
    assert students(server) == {None}
    commit.passes.set()
    wait_for(lambda: _booked(sql))
    time.sleep(1)
    for _ in range(5):
        assert students(server) == {"Ada"}
        assert free_spots(server) == {0}


def test_a_writer_that_waits_for_a_row_lock_does_not_keep_reads_from_the_cache(
    server: Server, proxy: Proxy, sql: Sql
) -> None:
    def queries() -> int:
        return proxy.count(b"available_interviewers")

    free_spots(server)
    sql("BEGIN; UPDATE interviews SET student = 'Eve' WHERE appointment_id = 1")
    with Threads() as threads:
        threads.start(ask, server, "PUT", "/api/appointments/1", booking("Ada"))
        wait_for(lambda: sql("SELECT FROM pg_locks WHERE NOT granted"))
        before = queries()
        started = time.monotonic()
        responses: list[Any] = []
        # PostgreSQL cancels the statement that waits for the lock after two seconds.
        while len(responses) < 200 and time.monotonic() < started + 1:
            responses.append(ask(server, "GET", "/api/days"))
        seconds = time.monotonic() - started
        assert sql("SELECT FROM pg_locks WHERE NOT granted")
        sql("ROLLBACK")
    assert {response.status for response in responses} == {200}
    # Each worker queries PostgreSQL once a second.
    assert queries() - before <= 2 * (1 + seconds)
