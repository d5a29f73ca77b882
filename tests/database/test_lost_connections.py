"""Connections to PostgreSQL that break: no request fails, and a change is made once."""

from __future__ import annotations

import time
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

from tests.support.database import KILL, Sql, connected
from tests.support.http import BOOKED, FREE, Response, ask, booking
from tests.support.pace import is_within
from tests.support.proxy import Proxy
from tests.support.server import Serve
from tests.support.tables import counting_writes
from tests.support.threads import Threads


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
            # A new connection has to live long enough for a statement, even on a busy machine.
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
    client_behind_proxy: FlaskClient,
    proxy: Proxy,
    sql: Sql,
    moment: str,
    times: int,
    request_: Any,
) -> None:
    method, appointment, headers = request_
    with counting_writes(sql) as writes:
        breaks = proxy.breaks_before if moment == "before" else proxy.breaks_after
        breaks.extend([b"COMMIT"] * times)
        json = booking("Ada", 2) if method == "PUT" else None
        response = client_behind_proxy.open(
            f"/api/appointments/{appointment}", method=method, headers=headers, json=json
        )
        assert (response.status_code, response.data) == (204, b"")
        stored = sql("SELECT student FROM interviews WHERE appointment_id = %s", [appointment])
        assert stored == ([("Ada",)] if method == "PUT" else [])
        assert writes() == 1


@pytest.mark.parametrize("moment", ["before", "after"])
def test_a_refused_write_stays_refused_if_its_connection_breaks(
    client_behind_proxy: FlaskClient, proxy: Proxy, sql: Sql, moment: str
) -> None:
    (proxy.breaks_before if moment == "before" else proxy.breaks_after).append(b"ROLLBACK")
    response = client_behind_proxy.put("/api/appointments/1", json=booking("Ada"), headers=FREE)
    assert response.status_code == 412
    assert sql("SELECT student FROM interviews") == [("Archie Cohen",)]


def test_a_read_is_repeated_if_its_connection_breaks(
    client_behind_proxy: FlaskClient, proxy: Proxy
) -> None:
    # Two lists: the second read of one is served from the cache.
    for breaks, path, text in (
        (proxy.breaks_before, "/api/days", b"available_interviewers"),
        (proxy.breaks_after, "/api/interviewers", b"avatar"),
    ):
        breaks.extend([text] * 2)
        assert client_behind_proxy.get(path).status_code == 200
        assert breaks == []


def test_a_network_that_always_breaks_gives_503(
    client_behind_proxy: FlaskClient, proxy: Proxy
) -> None:
    proxy.breaks_before.extend([b"json_agg"] * 100)
    started = time.monotonic()
    response = client_behind_proxy.get("/api/days")
    assert (response.status_code, "Retry-After" in response.headers) == (503, True)
    assert is_within(time.monotonic() - started, 5)
