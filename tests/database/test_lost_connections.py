"""Connections to PostgreSQL that break: no request fails, and a change is made once."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest
from flask import Flask

from app import create_app
from tests.support.database import Sql, connected
from tests.support.http import Response, ask, booking
from tests.support.pace import is_within
from tests.support.proxy import Proxy
from tests.support.server import Serve
from tests.support.threads import Threads
from tests.support.unavailable import KILL

FREE = {"If-None-Match": "*"}
BOOKED = {"If-Match": "*"}


def test_no_request_fails_when_backends_are_killed(
    serve: Serve, app: Flask, database_url: str
) -> None:
    server = serve()
    responses: list[tuple[str, Response]] = []

    def work(number: int) -> None:
        path = f"/api/appointments/{1 + number % 4}"
        for turn in range(60):
            if turn % 2:
                responses.append(("GET", ask(server, "GET", "/api/days")))
            elif turn % 6:
                responses.append(("PUT", ask(server, "PUT", path, booking(f"{number} {turn}"))))
            else:
                responses.append(("DELETE", ask(server, "DELETE", path)))

    with Threads() as killing:

        def kill() -> None:
            # A new connection has to live long enough for a statement, on a busy machine too.
            started = time.monotonic()
            with connected(database_url) as run:
                run(KILL)
            killing.stopping.wait(max(0.1, 10 * (time.monotonic() - started)))

        killing.repeat(kill)
        with Threads() as threads:
            for number in range(8):
                threads.start(work, number)
    assert len(responses) == 8 * 60
    failed = [(method, *response[:3]) for method, response in responses if response.status >= 400]
    assert failed == []
    assert is_within(max(response.seconds for _, response in responses), 5)


@pytest.fixture
def behind(app: Flask, proxy: Proxy) -> Iterator[Any]:
    """A client of an application behind a faulty network."""
    behind = create_app({"DATABASE_URL": proxy.url, "APP_ENV": "test"})
    yield behind.test_client()
    behind.extensions["change_listener"].stop()


@pytest.mark.parametrize(("moment", "times"), [("before", 1), ("after", 1), ("after", 2)])
@pytest.mark.parametrize(
    "request_",
    [
        ("PUT", 2, FREE),
        ("PUT", 1, BOOKED),
        ("PUT", 2, {}),
        ("DELETE", 1, BOOKED),
        ("DELETE", 1, {}),
    ],
    ids=str,
)
def test_a_change_is_made_once_if_its_connection_breaks(  # noqa: PLR0917
    behind: Any, proxy: Proxy, sql: Sql, moment: str, times: int, request_: Any
) -> None:
    method, appointment, headers = request_
    sql(
        "CREATE FUNCTION counted() RETURNS trigger LANGUAGE plpgsql AS"
        " $$ BEGIN INSERT INTO made DEFAULT VALUES; RETURN NULL; END $$"
    )
    sql("CREATE TABLE made (id SERIAL)")
    sql(
        "CREATE TRIGGER counted AFTER INSERT OR UPDATE OR DELETE ON interviews"
        " FOR EACH ROW EXECUTE FUNCTION counted()"
    )
    try:
        breaks = proxy.breaks_before if moment == "before" else proxy.breaks_after
        breaks.extend([b"COMMIT"] * times)
        body = {"json": booking("Ada", 2)} if method == "PUT" else {}
        response = behind.open(
            f"/api/appointments/{appointment}", method=method, headers=headers, **body
        )
        assert (response.status_code, response.data) == (204, b"")
        stored = sql("SELECT student FROM interviews WHERE appointment_id = %s", [appointment])
        assert stored == ([("Ada",)] if method == "PUT" else [])
        assert sql("SELECT count(*) FROM made") == [(1,)]
    finally:
        sql("DROP TABLE made; DROP FUNCTION counted CASCADE")


@pytest.mark.parametrize("moment", ["before", "after"])
def test_a_refused_write_stays_refused_if_its_connection_breaks(
    behind: Any, proxy: Proxy, sql: Sql, moment: str
) -> None:
    (proxy.breaks_before if moment == "before" else proxy.breaks_after).append(b"ROLLBACK")
    response = behind.put("/api/appointments/1", json=booking("Ada"), headers=FREE)
    assert response.status_code == 412
    assert sql("SELECT student FROM interviews") == [("Archie Cohen",)]


def test_a_read_is_repeated_if_its_connection_breaks(behind: Any, proxy: Proxy) -> None:
    # Two lists: the second read of one is served from the cache.
    for breaks, path, text in (
        (proxy.breaks_before, "/api/days", b"available_interviewers"),
        (proxy.breaks_after, "/api/interviewers", b"avatar"),
    ):
        breaks.extend([text] * 2)
        assert behind.get(path).status_code == 200
        assert breaks == []


def test_a_network_that_always_breaks_gives_503(behind: Any, proxy: Proxy) -> None:
    proxy.breaks_before.extend([b"json_agg"] * 100)
    started = time.monotonic()
    response = behind.get("/api/days")
    assert (response.status_code, "Retry-After" in response.headers) == (503, True)
    assert is_within(time.monotonic() - started, 5)
