"""Reads are correct while a COMMIT is in flight: delayed, unanswered, or from a killed worker.

The proxy between the server and PostgreSQL holds back the COMMIT or its reply.
"""

from __future__ import annotations

import http.client
import json
import os
import signal
import time
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest

from app.cache.entry import MAX_AGE
from tests.support.database import Sql, refill
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
def proxy(module_proxy: Proxy, tables: None, sql: Sql) -> Iterator[Proxy]:
    """The network between the servers and a database with the fresh seed."""
    refill(sql)
    yield module_proxy
    module_proxy.release()


@pytest.fixture(scope="module")
def shared(module_proxy: Proxy, tables: None, serve_module: Serve) -> Server:
    return serve_module(DATABASE_URL=module_proxy.url)


@pytest.fixture
def server(shared: Server, proxy: Proxy) -> Server:
    """A server behind the proxy, with the lists cached in both workers."""
    wait_for(lambda: students(shared) == {None})
    return shared


@pytest.fixture
def own_server(serve: Serve, proxy: Proxy) -> Server:
    """Such a server, whose workers a test may kill."""
    server = serve(DATABASE_URL=proxy.url)
    assert students(server) == {None}
    return server


def book(server: Server, student: str, statuses: list[int]) -> None:
    statuses.append(ask(server, "PUT", "/api/appointments/2", booking(student)).status)


def test_reads_show_the_old_state_until_the_commit_succeeds(server: Server, proxy: Proxy) -> None:
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
        before = proxy.count(b"pg_xact_status")
        for turn in range(8):
            proxy.breaks_after.append(b"COMMIT")
            response = ask(server, "PUT", "/api/appointments/2", booking(str(turn)))
            assert response.status == 204
            assert students(server) == {str(turn)}
    assert proxy.count(b"pg_xact_status") - before >= 8


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


def test_a_read_does_not_share_a_query_that_began_before_it(serve: Serve, proxy: Proxy) -> None:
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
    own_server: Server, proxy: Proxy, sql: Sql
) -> None:
    commit = proxy.hold_reply(b"COMMIT")
    _kill_the_worker_that_commits(own_server, commit)
    wait_for(lambda: _booked(sql))

    def check_reads() -> None:
        assert students(own_server) == {"Ada"}
        assert free_spots(own_server) == {0}
        time.sleep(0.05)

    # While the worker is missing, and until all that was cached before has expired.
    deadline = time.monotonic() + 30
    while own_server.boots < 3:
        assert time.monotonic() < deadline
        check_reads()
    until = time.monotonic() + MAX_AGE + 0.5
    while time.monotonic() < until:
        check_reads()


def test_a_worker_killed_during_a_commit_after_a_reload_does_not_end_the_caching(
    own_server: Server, proxy: Proxy
) -> None:
    # After a reload, the replacement does not get the killed worker's index, but that of an old
    # worker.
    old = set(own_server.workers)
    own_server.process.send_signal(signal.SIGHUP)
    wait_for(lambda: len(own_server.workers) == 2 and not old & set(own_server.workers))
    own_server.wait_for_boots(4)
    commit = proxy.hold(b"COMMIT")
    _kill_the_worker_that_commits(own_server, commit)
    own_server.wait_for_boots(5)

    def is_cached() -> bool:
        students(own_server)
        before = proxy.count(b"json_object_agg")
        started = time.monotonic()
        students(own_server, 4 * READS)
        # Each worker queries PostgreSQL once a second.
        queries = proxy.count(b"json_object_agg") - before
        return queries <= 2 * (1 + time.monotonic() - started) and queries < 4 * READS

    wait_for(is_cached)


@pytest.mark.parametrize(
    "waits_for_replacement", [False, True], ids=["at once", "after its replacement"]
)
def test_a_commit_that_outlives_its_worker_is_seen_within_a_second(
    own_server: Server, proxy: Proxy, sql: Sql, waits_for_replacement: bool
) -> None:
    commit = proxy.hold(b"COMMIT")
    _kill_the_worker_that_commits(own_server, commit)
    # PostgreSQL ends a transaction that has been idle for three seconds.
    until = time.monotonic() + 2.0
    while waits_for_replacement and own_server.boots < 3 and time.monotonic() < until:
        time.sleep(0.05)
    assert students(own_server) == {None}
    commit.passes.set()
    wait_for(lambda: _booked(sql))
    time.sleep(1)
    for _ in range(5):
        assert students(own_server) == {"Ada"}
        assert free_spots(own_server) == {0}


def test_reads_are_cached_while_a_writer_waits_for_a_row_lock(
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
