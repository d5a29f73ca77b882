"""Every error response: `application/problem+json` (RFC 9457), made in one place.

Nothing of an exception's own text reaches a client; the log has it.
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

# Phrases as RFC 9110 has them; Python's differ from version to version.
PHRASES = {413: "Content Too Large", 414: "URI Too Long", 422: "Unprocessable Content"}


class FieldError(NamedTuple):
    """What is wrong with one field of a body: a JSON pointer to it (RFC 6901), and why."""

    pointer: str
    detail: str


class InvalidFields(Exception):
    """The body is JSON, and some of its fields are invalid; the response is 422."""

    def __init__(self, *errors: FieldError) -> None:
        super().__init__(*errors)
        self.errors = errors


def problem(status: int, detail: str, errors: Iterable[FieldError] = ()) -> Response:
    """An error as a response: `type` is `about:blank`, so `title` is the status's own phrase."""
    return Response(
        problem_json(status, detail, errors), status, mimetype="application/problem+json"
    )


def unavailable() -> Response:
    """The response while PostgreSQL is unavailable."""
    response = problem(503, "The database cannot be reached at the moment. Try again shortly.")
    response.headers["Retry-After"] = str(RETRY_AFTER)
    return response


def phrase(status: int) -> str:
    """The reason phrase of a status, the same with every version of Python."""
    return PHRASES.get(status) or HTTPStatus(status).phrase


def problem_json(status: int, detail: str, errors: Iterable[FieldError] = ()) -> bytes:
    """The body of an error."""
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
    """Turn whatever a view raises into a problem, also while testing and debugging."""
    app.config["PROPAGATE_EXCEPTIONS"] = False
    app.register_error_handler(HTTPException, _http_error)
    app.register_error_handler(InvalidFields, _invalid_fields)
    app.register_error_handler(DatabaseUnavailable, _unavailable)
    app.register_error_handler(psycopg2.Error, _database_error)
    app.register_error_handler(Exception, _unexpected)


def _http_error(error: HTTPException) -> Response:
    own = error.get_response()
    is_general = error.description in {None, type(error).description}
    detail = HTTPStatus(own.status_code).description if is_general else error.description
    response = problem(own.status_code, detail or "")
    for name, value in own.headers:
        # `Allow` and `Retry-After` survive.
        if name not in {"Content-Type", "Content-Length"}:
            response.headers.add(name, value)
    return response


def _invalid_fields(invalid: InvalidFields) -> Response:
    return problem(422, " ".join(error.detail for error in invalid.errors), invalid.errors)


def _unavailable(error: Exception) -> Response:
    log.warning("database unavailable", extra={"error": _first_line(error)})
    return unavailable()


def _database_error(error: psycopg2.Error) -> Response:
    return _unavailable(error) if is_unavailable(error) else _unexpected(error)


def _unexpected(error: Exception) -> Response:
    log.error("unexpected error", exc_info=error)
    return problem(500, "The server made a mistake. It has been logged.")


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
