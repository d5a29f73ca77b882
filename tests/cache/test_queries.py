"""How many queries reach PostgreSQL."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from flask import Flask

from app.cache import entry
from app.cache.entry import MAX_AGE
from tests.support.database import Sql, refill
from tests.support.http import Response, ask, booking
from tests.support.pace import is_within
from tests.support.processes import frozen
from tests.support.proxy import Proxy
from tests.support.server import Serve, Server
from tests.support.threads import Threads
from tests.support.waiting import wait_for


def queries(proxy: Proxy) -> int:
    """Return how many queries for the interviewers there were."""
    return sum(b"interviewers" in s and b"avatar" in s for s in proxy.statements)


def wait_until_stored(server: Server, proxy: Proxy, path: str) -> None:
    """Send requests until one is served without a query."""

    def is_stored() -> bool:
        before = len(proxy.statements)
        ask(server, "GET", path)
        return len(proxy.statements) == before

    wait_for(is_stored)


def warm(server: Server, proxy: Proxy) -> None:
    """Let each worker cache the interviewers, while the others are frozen."""
    workers = server.workers
    for warmed in workers:
        with frozen(worker for worker in workers if worker != warmed):
            wait_until_stored(server, proxy, "/api/interviewers")


@contextmanager
def locked(sql: Sql) -> Iterator[None]:
    """Lock the interviewers against reading during the block."""
    sql("BEGIN; LOCK TABLE interviewers IN ACCESS EXCLUSIVE MODE")
    try:
        yield
    finally:
        sql("COMMIT")


@pytest.fixture
def proxy(module_proxy: Proxy, tables: None, sql: Sql) -> Proxy:
    """The network between the servers and a database with the fresh seed."""
    refill(sql)
    return module_proxy


@pytest.fixture(scope="module")
def shared(module_proxy: Proxy, tables: None, serve_module: Serve) -> Server:
    return serve_module(DATABASE_URL=module_proxy.url)


@pytest.fixture
def server(shared: Server, proxy: Proxy) -> Server:
    """A server behind the proxy."""
    return shared


def test_while_nothing_changes_each_worker_queries_once_a_second(
    server: Server, proxy: Proxy
) -> None:
    warm(server, proxy)
    before = queries(proxy)
    started = time.monotonic()
    for _ in range(300):
        assert ask(server, "GET", "/api/interviewers").status == 200
    seconds = time.monotonic() - started
    assert queries(proxy) - before <= 2 * (seconds / MAX_AGE + 1)


def test_a_query_that_returns_the_same_keeps_the_cached_response(
    app: Flask, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(entry, "MAX_AGE", 0.0)
    client = app.test_client()
    client.get("/api/days")
    first = app.extensions["cache"].entries["/api/days"].response
    client.get("/api/days")
    assert app.extensions["cache"].entries["/api/days"].response is first


def test_a_change_costs_each_worker_one_query_however_many_requests_wait(
    server: Server, proxy: Proxy, sql: Sql
) -> None:
    warm(server, proxy)
    before = queries(proxy)
    started = time.monotonic()
    responses: list[Response] = []
    sql("UPDATE interviewers SET name = 'Eve'")
    with Threads() as threads, locked(sql):
        time.sleep(MAX_AGE)  # everything cached expires
        for _ in range(50):
            threads.start(lambda: responses.append(ask(server, "GET", "/api/interviewers")))
        # In each worker, one request waits for the lock and the others for its query.
        time.sleep(0.7)
        assert responses == []
    assert {response.status for response in responses} == {200}
    assert {response.json["1"]["name"] for response in responses} == {"Eve"}
    # All requests that arrive during a query share the next one.
    seconds = time.monotonic() - started
    assert queries(proxy) - before <= 2 * (2 + seconds // MAX_AGE)


def test_a_new_worker_queries_once_however_many_requests_wait(
    serve: Serve, proxy: Proxy, sql: Sql
) -> None:
    server = serve(DATABASE_URL=proxy.url, WEB_CONCURRENCY="1")
    wait_until_stored(server, proxy, "/api/days")
    before = queries(proxy)
    started = time.monotonic()
    responses: list[Response] = []
    with Threads() as threads, locked(sql):
        for _ in range(50):
            threads.start(lambda: responses.append(ask(server, "GET", "/api/interviewers")))
        time.sleep(0.7)
        assert responses == []
    assert [response.status for response in responses] == [200] * 50
    seconds = time.monotonic() - started
    assert queries(proxy) - before <= 2 + seconds // MAX_AGE


def test_requests_that_wait_for_a_query_that_fails_get_503(server: Server, sql: Sql) -> None:
    for _ in range(10):
        ask(server, "GET", "/api/interviewers")
    sql("UPDATE interviewers SET name = 'Eve'")
    responses: list[Response] = []
    with locked(sql), Threads() as threads:
        time.sleep(MAX_AGE)  # everything cached expires
        for _ in range(20):
            threads.start(lambda: responses.append(ask(server, "GET", "/api/interviewers")))
    assert {(response.status, response.headers.get("Retry-After")) for response in responses} == {
        (503, "2")
    }
    assert is_within(max(response.seconds for response in responses), 5)
    response = ask(server, "GET", "/api/interviewers")
    assert response.json["1"]["name"] == "Eve"


def test_a_request_that_waits_for_a_slow_query_gets_503_within_five_seconds(
    serve: Serve, proxy: Proxy
) -> None:
    server = serve(DATABASE_URL=proxy.url, WEB_CONCURRENCY="1", DB_POOL_SIZE="1")
    held_booking = proxy.hold_reply(b"BEGIN; EXECUTE")
    responses: list[Response] = []

    def get() -> None:
        responses.append(ask(server, "GET", "/api/interviewers"))

    with Threads() as threads:
        threads.start(ask, server, "PUT", "/api/appointments/2", booking("Ada"))
        assert held_booking.reached.wait(5)
        held_queries = [proxy.hold_reply(b"avatar") for _ in range(2)]
        threads.start(get)
        time.sleep(0.2)
        threads.start(get)
        # The first request waits 1.6 seconds for the only connection, then 1.2 for its reply. The
        # second one waits for that, and then too long for the reply to its own query.
        time.sleep(1.4)
        held_booking.passes.set()
        assert held_queries[0].reached.wait(5)
        time.sleep(1.2)
        held_queries[0].passes.set()
        assert held_queries[1].reached.wait(5)
    assert [response.status for response in responses] == [200, 503]
    assert is_within(max(response.seconds for response in responses), 5)
