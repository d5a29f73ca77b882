"""How often PostgreSQL is asked."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from flask import Flask

from tests.support.database import Sql
from tests.support.http import Response, ask
from tests.support.processes import frozen
from tests.support.proxy import Proxy
from tests.support.server import Serve, Server
from tests.support.threads import Threads
from tests.support.waiting import wait_for


def queries(proxy: Proxy) -> int:
    """How often the interviewers were asked for."""
    return sum(b"interviewers" in s and b"avatar" in s for s in proxy.statements)


def wait_until_stored(server: Server, proxy: Proxy, path: str) -> None:
    """Ask until PostgreSQL is not asked any more."""

    def is_stored() -> bool:
        before = len(proxy.statements)
        ask(server, "GET", path)
        return len(proxy.statements) == before

    wait_for(is_stored)


def warm(server: Server, proxy: Proxy) -> None:
    """Let each worker store the interviewers, while the others stand still."""
    workers = server.workers
    for warmed in workers:
        with frozen(worker for worker in workers if worker != warmed):
            wait_until_stored(server, proxy, "/api/interviewers")


@contextmanager
def locked(sql: Sql) -> Iterator[None]:
    """Nobody may read the interviewers meanwhile."""
    sql("BEGIN; LOCK TABLE interviewers IN ACCESS EXCLUSIVE MODE")
    try:
        yield
    finally:
        sql("COMMIT")


def test_while_nothing_changes_postgresql_is_not_asked(
    serve: Serve, app: Flask, proxy: Proxy
) -> None:
    server = serve(DATABASE_URL=proxy.url)
    warm(server, proxy)
    before = queries(proxy)
    assert 2 <= before <= 4
    for _ in range(100):
        assert ask(server, "GET", "/api/interviewers").status == 200
    assert queries(proxy) == before


def test_a_change_costs_each_process_one_query_however_many_wait(
    serve: Serve, app: Flask, proxy: Proxy, sql: Sql
) -> None:
    server = serve(DATABASE_URL=proxy.url)
    warm(server, proxy)
    before = queries(proxy)
    answers: list[Response] = []
    sql("UPDATE interviewers SET name = 'Eve'")
    with Threads() as threads, locked(sql):
        for _ in range(50):
            threads.start(lambda: answers.append(ask(server, "GET", "/api/interviewers")))
        # All wait for the lock, whether they asked PostgreSQL or wait for who did.
        time.sleep(0.7)
        assert answers == []
    assert {answer.status for answer in answers} == {200}
    assert {answer.json["1"]["name"] for answer in answers} == {"Eve"}
    assert queries(proxy) - before == 2


def test_a_process_that_was_never_asked_before_asks_once_too(
    serve: Serve, app: Flask, proxy: Proxy, sql: Sql
) -> None:
    server = serve(DATABASE_URL=proxy.url, WEB_CONCURRENCY="1")
    wait_until_stored(server, proxy, "/api/days")
    answers: list[Response] = []
    with Threads() as threads, locked(sql):
        for _ in range(50):
            threads.start(lambda: answers.append(ask(server, "GET", "/api/interviewers")))
        time.sleep(0.7)
        assert answers == []
    assert [answer.status for answer in answers] == [200] * 50
    assert queries(proxy) == 1


def test_after_one_process_showed_a_change_none_shows_the_past(
    serve: Serve, app: Flask, proxy: Proxy, sql: Sql
) -> None:
    server = serve(DATABASE_URL=proxy.url)
    warm(server, proxy)
    # A change that nobody has told of yet, however fast somebody reads it.
    sql("BEGIN; SET LOCAL session_replication_role = replica")
    sql("UPDATE interviewers SET name = 'Eve'; COMMIT")
    # With a query string it is not answered from what is stored.
    paths = ["/api/interviewers?anew", *["/api/interviewers"] * 20]
    assert [ask(server, "GET", path).json["1"]["name"] for path in paths] == ["Eve"] * 21


def test_who_waits_for_a_query_that_fails_is_answered_too(
    serve: Serve, app: Flask, sql: Sql
) -> None:
    server = serve()
    for _ in range(10):
        ask(server, "GET", "/api/interviewers")
    sql("UPDATE interviewers SET name = 'Eve'")
    answers: list[Response] = []
    with locked(sql), Threads() as threads:
        for _ in range(20):
            threads.start(lambda: answers.append(ask(server, "GET", "/api/interviewers")))
    assert {(answer.status, answer.headers.get("Retry-After")) for answer in answers} == {
        (503, "2")
    }
    assert max(answer.seconds for answer in answers) < 5
    answer = ask(server, "GET", "/api/interviewers")
    assert answer.json["1"]["name"] == "Eve"
