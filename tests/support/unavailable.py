"""What a client gets while PostgreSQL is unavailable."""

from __future__ import annotations

from typing import Any

from tests.support.http import Response, ask, booking
from tests.support.pace import is_within
from tests.support.server import Server


def assert_unavailable(response: Response) -> None:
    """Check that this is a 503 within 5 seconds that says when to try again."""
    assert response.status == 503
    assert response.headers["Content-Type"] == "application/problem+json"
    assert int(response.headers["Retry-After"]) > 0
    assert response.json["status"] == 503
    assert is_within(response.seconds, 5)


# Terminates every other connection to the database.
KILL = (
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
    " WHERE datname = current_database() AND pid <> pg_backend_pid()"
)


def assert_served_at_once(server: Server) -> None:
    """Check that requests that need no database do not wait for it."""
    for request, status in AT_ONCE:
        response = ask(server, *request)
        assert response.status == status
        assert is_within(response.seconds, 1)


# Requests that need no database, with their status.
AT_ONCE: list[tuple[tuple[Any, ...], int]] = [
    (("GET", "/nowhere"), 404),
    (("GET", "/"), 404),
    (("POST", "/api/days"), 405),
    (("PUT", "/api/appointments/abc", booking("Ada")), 404),
    (("PUT", "/api/appointments/1", b"{"), 400),
    (("PUT", "/api/appointments/1", booking("x" * 110_000)), 413),
    (("PUT", "/api/appointments/1", booking("A"), {"Content-Type": "text/plain"}), 415),
    (("PUT", "/api/appointments/1", {}), 422),
    (("OPTIONS", "/api/days"), 200),
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
