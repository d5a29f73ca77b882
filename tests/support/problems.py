"""Problem details (RFC 9457), as every error has them."""

from __future__ import annotations

import json
from http import HTTPStatus
from typing import Any

# RFC 9110 has other phrases for these than Python before 3.13.
TITLES = {413: "Content Too Large", 414: "URI Too Long", 422: "Unprocessable Content"}


def assert_problem(headers: Any, body: bytes, status: int) -> Any:
    """Check that this is a problem; return its `errors`, which only a 422 has."""
    assert headers["Content-Type"] == "application/problem+json"
    problem = json.loads(body)
    errors = problem.pop("errors", None)
    detail = problem.pop("detail")
    assert isinstance(detail, str)
    assert 0 < len(detail) < 1000
    title = TITLES.get(status) or HTTPStatus(status).phrase
    assert problem == {"type": "about:blank", "title": title, "status": status}
    assert errors is None or status == 422
    return errors


def assert_open_to_browsers(headers: Any) -> None:
    """Check that a script in a browser may read this response."""
    assert headers["Access-Control-Allow-Origin"] == "*"
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["X-Request-ID"]
