"""Creates every error response, as `application/problem+json` (RFC 9457).

The text of an unexpected exception is logged and never sent to a client.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable
from http import HTTPStatus
from typing import NamedTuple

import psycopg2
from flask import Flask, Response
from werkzeug.exceptions import HTTPException

from app.database.errors import DatabaseUnavailable, is_unavailable

log = logging.getLogger(__name__)

# Seconds after which a client should try again (RFC 9110, section 10.2.3).
RETRY_AFTER = 2

# Reason phrases of RFC 9110 that differ between versions of Python.
PHRASES = {413: "Content Too Large", 414: "URI Too Long", 422: "Unprocessable Content"}


class FieldError(NamedTuple):
    """An invalid field of a request body: a JSON pointer to it (RFC 6901), and the reason."""

    pointer: str
    detail: str


class InvalidFields(Exception):
    """Raised for a JSON body with invalid fields. Its arguments are the `FieldError`s.

    The response is 422.
    """


def problem(status: int, detail: str, errors: Iterable[FieldError] = ()) -> Response:
    """Return an error response of the type `about:blank` (RFC 9457, section 4.2.1)."""
    return Response(
        problem_json(status, detail, errors), status, mimetype="application/problem+json"
    )


def unavailable(what: str = "The database is unavailable.") -> Response:
    """Return a 503 that says what is unavailable and when to try again."""
    response = problem(503, f"{what} Try again shortly.")
    response.headers["Retry-After"] = str(RETRY_AFTER)
    return response


def phrase(status: int) -> str:
    """Return the reason phrase of a status."""
    return PHRASES.get(status) or HTTPStatus(status).phrase


def problem_json(status: int, detail: str, errors: Iterable[FieldError] = ()) -> bytes:
    """Return the body of an error response."""
    body: dict[str, object] = {
        "type": "about:blank",
        "title": phrase(status),
        "status": status,
        "detail": detail,
    }
    if fields := [error._asdict() for error in errors]:
        body["errors"] = fields
    return json.dumps(body).encode() + b"\n"


def init_app(app: Flask) -> None:
    """Turn every exception into an error response, even while testing and debugging."""
    app.config["PROPAGATE_EXCEPTIONS"] = False
    app.register_error_handler(HTTPException, _http_error)
    app.register_error_handler(InvalidFields, _invalid_fields)
    app.register_error_handler(DatabaseUnavailable, _unavailable)
    app.register_error_handler(psycopg2.Error, _database_error)
    app.register_error_handler(Exception, _unexpected)


def _http_error(error: HTTPException) -> Response:
    default = error.get_response()
    has_default_text = error.description in {None, type(error).description}
    detail = HTTPStatus(default.status_code).description if has_default_text else error.description
    response = problem(default.status_code, detail or "")
    for name, value in default.headers:
        # Copies `Allow` and `Retry-After`.
        if name not in {"Content-Type", "Content-Length"}:
            response.headers.add(name, value)
    return response


def _invalid_fields(invalid: InvalidFields) -> Response:
    return problem(422, " ".join(error.detail for error in invalid.args), invalid.args)


def _unavailable(error: Exception) -> Response:
    log.warning("database unavailable", extra={"error": _first_line(error)})
    return unavailable()


def _database_error(error: psycopg2.Error) -> Response:
    return _unavailable(error) if is_unavailable(error) else _unexpected(error)


def _unexpected(error: Exception) -> Response:
    log.error("unexpected error", exc_info=error)
    return problem(500, "An unexpected error occurred. It has been logged.")


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
