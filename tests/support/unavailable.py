"""What a client gets while PostgreSQL is unavailable."""

from __future__ import annotations

from typing import Any

from flask.testing import FlaskClient

from tests.support.http import Response, ask, booking
from tests.support.pace import is_within
from tests.support.problems import assert_open_to_browsers, assert_problem
from tests.support.server import Server


def assert_unavailable(response: Response) -> None:
    """Check that this is a 503 within 5 seconds that says when to try again."""
    assert response.status == 503
    assert_problem(response.headers, response.body, 503)
    assert_open_to_browsers(response.headers)
    assert int(response.headers["Retry-After"]) > 0
    assert "ETag" not in response.headers
    assert is_within(response.seconds, 5)


def assert_served_at_once(server: Server | FlaskClient) -> None:
    """Check that requests that need no database do not wait for it."""
    for request, status in NEED_NO_DATABASE:
        response = ask(server, *request)
        assert (request[1], response.status) == (request[1], status)
        assert is_within(response.seconds, 1)


# Requests that need no database, with their status.
NEED_NO_DATABASE: list[tuple[tuple[Any, ...], int]] = [
    (("GET", "/nowhere"), 404),
    (("GET", "/"), 404),
    (("POST", "/api/days", {}), 405),
    (("PUT", "/api/appointments/abc", booking("Ada")), 404),
    (("DELETE", "/api/appointments/9999999999"), 404),
    (("PUT", "/api/appointments/1", b"{"), 400),
    (("PUT", "/api/appointments/1", booking("x" * 110_000)), 413),
    (("PUT", "/api/appointments/1", booking("A"), {"Content-Type": "text/plain"}), 415),
    (("PUT", "/api/appointments/1", {}), 422),
    (("OPTIONS", "/api/days"), 200),
    (("OPTIONS", "/api/appointments/1"), 200),
    (
        (
            "OPTIONS",
            "/api/appointments/1",
            None,
            {"Origin": "http://x.example", "Access-Control-Request-Method": "PUT"},
        ),
        204,
    ),
]
