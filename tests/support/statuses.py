"""Requests for the usual statuses of the application."""

from __future__ import annotations

from typing import Any

import pytest
from flask.testing import FlaskClient

from tests.support.http import BODY, BOOKED

REQUESTS: list[tuple[str, str, dict[str, Any], int]] = [
    ("GET", "/api/days", {}, 200),
    ("GET", "/api/appointments", {}, 200),
    ("GET", "/api/interviewers", {}, 200),
    ("HEAD", "/api/days", {}, 200),
    ("OPTIONS", "/api/days", {}, 200),
    ("PUT", "/api/appointments/2", {"json": BODY}, 204),
    ("DELETE", "/api/appointments/2", {}, 204),
    ("GET", "/api/days", {"headers": {"If-None-Match": "*"}}, 304),
    ("PUT", "/api/appointments/2", {"data": b"{", "content_type": "application/json"}, 400),
    ("GET", "/nowhere", {}, 404),
    ("PUT", "/api/appointments/99", {"json": BODY}, 404),
    ("POST", "/api/days", {"json": {}}, 405),
    ("PUT", "/api/appointments/3", {"json": BODY, "headers": BOOKED}, 412),
    ("PUT", "/api/appointments/2", {"json": {"x": "x" * 200_000}}, 413),
    ("PUT", "/api/appointments/2", {"data": b"hello", "content_type": "text/plain"}, 415),
    ("PUT", "/api/appointments/2", {"json": {}}, 422),
]


def send_each(client: FlaskClient, request: Any, **headers: str) -> Any:
    """Send one of the requests above, with more headers; check its status."""
    method, path, given, status = request
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    response = client.open(
        path, method=method, **{**given, "headers": {**given.get("headers", {}), **named}}
    )
    assert response.status_code == status
    return response


def words(value: str | None) -> set[str]:
    """Return the words of a header that is a list, in lower case."""
    return {word.strip().lower() for word in (value or "").split(",") if word.strip()}


each_request = pytest.mark.parametrize(
    "request_", REQUESTS, ids=lambda request: f"{request[0]} {request[1]} {request[3]}"
)
