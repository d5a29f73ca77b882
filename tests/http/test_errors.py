"""Every error is a problem (RFC 9457): unknown paths, wrong methods, unexpected errors."""

from __future__ import annotations

import io
import json
import time
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

from tests.support.application import MakeApp
from tests.support.database import Sql
from tests.support.http import BODY_BYTES, ask, booking
from tests.support.lists import PATHS
from tests.support.pace import is_within
from tests.support.problems import assert_open_to_browsers, assert_problem
from tests.support.server import Serve
from tests.support.waiting import wait_for

JSON = {"Content-Type": "application/json"}

UNKNOWN = [
    "/",
    "//",
    "//api/days",
    "/api",
    "/api/",
    "/api/days/x",
    "/api/days/1",
    "/api/days//",
    "/api//days",
    "/api/./days",
    "/api/x/../days",
    "/API/days",
    "/api/Days",
    "/api/day",
    "/api/days.json",
    "/api/days;v=1",
    "/api/days ",
    "/api/interviewers/1",
    "/api/appointments/1/interview",
    "/api/debug",
    "/api/debug/",
    "/favicon.ico",
    "/robots.txt",
    "/static/x.js",
    "/index.html",
    "/days",
    "/api/\0days",
    "/\xff",
    "/" + "x" * 3000,
]


@pytest.mark.parametrize("path", UNKNOWN, ids=lambda path: repr(path[:20]))
def test_an_unknown_path_is_404_for_every_method(open_client: FlaskClient, path: str) -> None:
    for method in ("GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS"):
        # As the server passes it: the test client takes "//api" for a host.
        response = open_client.open(method=method, environ_overrides={"PATH_INFO": path})
        assert (method, response.status_code) == (method, 404)
        assert_problem(response.headers, response.data, 404)
        assert_open_to_browsers(response.headers)
        assert "Location" not in response.headers


ALLOWED = {
    "/api/days": {"GET", "HEAD", "OPTIONS"},
    "/api/appointments": {"GET", "HEAD", "OPTIONS"},
    "/api/interviewers": {"GET", "HEAD", "OPTIONS"},
    "/api/debug/reset": {"GET", "HEAD", "OPTIONS"},
    "/api/appointments/1": {"PUT", "DELETE", "OPTIONS"},
    "/api/appointments/abc": {"PUT", "DELETE", "OPTIONS"},
}
METHODS = {"GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "TRACE", "BREW"}


@pytest.mark.parametrize("slash", ["", "/"], ids=["plain", "slash"])
@pytest.mark.parametrize(
    ("path", "method"),
    [(path, method) for path in ALLOWED for method in sorted(METHODS - ALLOWED[path])],
)
def test_a_wrong_method_is_405_with_allow(
    open_client: FlaskClient, path: str, method: str, slash: str
) -> None:
    response = open_client.open(path + slash, method=method, data=BODY_BYTES, headers=JSON)
    assert response.status_code == 405
    assert response.headers["Allow"] == ", ".join(sorted(ALLOWED[path]))
    assert_open_to_browsers(response.headers)
    if method != "HEAD":
        assert_problem(response.headers, response.data, 405)


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("GET", "/api/days", b"", "200 OK"),
        ("PUT", "/api/appointments/2", BODY_BYTES, "204 No Content"),
        ("GET", "/nowhere", b"", "404 Not Found"),
        ("PUT", "/api/days", BODY_BYTES, "405 Method Not Allowed"),
        ("PUT", "/api/appointments/1", b" " * 102_401, "413 Content Too Large"),
        ("PUT", "/api/appointments/1", b"{}", "422 Unprocessable Content"),
    ],
)
def test_a_status_line_has_the_phrase_of_rfc_9110(
    client: FlaskClient, method: str, path: str, body: bytes, status: str
) -> None:
    response = client.open(path, method=method, data=body, headers=JSON)
    assert response.status == status
    if response.status_code >= 400:
        assert json.loads(response.data)["title"] == status[4:]


@pytest.mark.parametrize("slash", ["", "/"], ids=["plain", "slash"])
@pytest.mark.parametrize("path", ALLOWED)
def test_options_lists_the_allowed_methods(open_client: FlaskClient, path: str, slash: str) -> None:
    response = open_client.options(path + slash)
    assert response.status_code in {200, 204}
    assert response.headers["Allow"] == ", ".join(sorted(ALLOWED[path]))
    assert response.data == b""
    assert_open_to_browsers(response.headers)


@pytest.mark.parametrize(
    "path", [*PATHS, *(f"{path}/" for path in PATHS), "/nowhere", "/api/appointments/1"]
)
def test_head_is_get_without_the_body(open_client: FlaskClient, path: str) -> None:
    get, head = open_client.get(path), open_client.head(path)
    assert (head.status_code, head.data) == (get.status_code, b"")

    def described(headers: Any) -> dict[str, str]:
        return {name: value for name, value in headers.items() if name != "X-Request-ID"}

    assert described(head.headers) == described(get.headers)
    if get.status_code == 200:
        assert open_client.head(path, headers={"If-None-Match": "*"}).status_code == 304


def test_test_error_fails_every_put_and_delete(app: Flask, make_app: MakeApp) -> None:
    client = make_app(TEST_ERROR="true").test_client()
    before = client.get("/api/appointments").json
    for method in ("PUT", "DELETE"):
        for appointment in ("1", "2", "99", "abc"):
            for body in (BODY_BYTES, b"", b"[]"):
                response = client.open(
                    f"/api/appointments/{appointment}", method=method, data=body, headers=JSON
                )
                assert response.status_code == 500
                assert_problem(response.headers, response.data, 500)
                assert_open_to_browsers(response.headers)
    response = client.get("/api/appointments")
    assert (response.status_code, response.json) == (200, before)
    assert client.get("/api/days").status_code == 200


def test_test_error_is_off_when_it_is_blank(app: Flask, make_app: MakeApp) -> None:
    client = make_app(TEST_ERROR=" ").test_client()
    assert client.put("/api/appointments/2", data=BODY_BYTES, headers=JSON).status_code == 204
    assert client.delete("/api/appointments/1").status_code == 204


@pytest.mark.parametrize(("test_error", "status"), [("", 204), ("true", 500)])
def test_save_delay_delays_the_response_to_a_write(
    app: Flask, make_app: MakeApp, test_error: str, status: int
) -> None:
    client = make_app(TEST_ERROR=test_error, SAVE_DELAY="0.2").test_client()
    for method in ("PUT", "DELETE"):
        started = time.monotonic()
        response = client.open("/api/appointments/2", method=method, data=BODY_BYTES, headers=JSON)
        assert response.status_code == status
        seconds = time.monotonic() - started
        assert seconds >= 0.2
        assert is_within(seconds, 1.2)
    started = time.monotonic()
    for path in PATHS * 3:
        assert client.get(path).status_code == 200
    # Delayed, they would take nine times as long as a write.
    assert is_within(time.monotonic() - started, 9 * 0.2)


@pytest.mark.usefixtures("restored_schema")
def test_an_unexpected_error_is_a_problem_without_details_and_one_line_in_the_log(
    client: FlaskClient, sql: Sql, log: io.StringIO
) -> None:
    sql("ALTER TABLE interviews ADD CONSTRAINT no_ada CHECK (student <> 'Ada')")
    response = client.put(
        "/api/appointments/2", data=BODY_BYTES, headers={**JSON, "X-Request-ID": "the-failing-one"}
    )
    assert response.status_code == 500
    assert_problem(response.headers, response.data, 500)
    assert_open_to_browsers(response.headers)
    for inner in (b"no_ada", b"Ada", b"psycopg2", b"Traceback", b"interviews", b"SELECT"):
        assert inner not in response.data
    (line,) = (line for line in log.getvalue().splitlines() if "no_ada" in line)
    assert line.startswith("at=ERROR ")
    assert "Traceback" in line
    assert "request_id=the-failing-one" in line
    assert all(line.startswith("at=") for line in log.getvalue().splitlines())
    assert client.put("/api/appointments/2", json=booking("Bob")).status_code == 204


@pytest.mark.usefixtures("restored_schema")
def test_an_unexpected_error_of_a_read_is_the_same(
    client: FlaskClient, sql: Sql, log: io.StringIO
) -> None:
    sql("ALTER TABLE appointments DROP CONSTRAINT appointments_day_id_fkey")
    sql("ALTER TABLE appointments ALTER COLUMN day_id TYPE text")
    response = client.get("/api/days")
    assert response.status_code == 500
    assert_problem(response.headers, response.data, 500)
    assert b"operator" not in response.data
    assert len([line for line in log.getvalue().splitlines() if "Traceback" in line]) == 1
    assert client.get("/api/interviewers").status_code == 200


@pytest.mark.usefixtures("restored_schema")
def test_an_unexpected_error_in_the_real_server_is_the_same(
    client: FlaskClient, sql: Sql, serve: Serve
) -> None:
    server = serve(FLASK_DEBUG="1", WEB_CONCURRENCY="1")
    sql("ALTER TABLE interviews ADD CONSTRAINT no_ada CHECK (student <> 'Ada')")
    response = ask(
        server, "PUT", "/api/appointments/2", BODY_BYTES, {**JSON, "X-Request-ID": "abc"}
    )
    assert response.status == 500
    assert_problem(response.headers, response.body, 500)
    assert_open_to_browsers(response.headers)
    assert b"no_ada" not in response.body
    wait_for(lambda: "status=500" in server.log)
    lines = [line for line in server.log.splitlines() if "no_ada" in line]
    assert len(lines) == 1
    assert "request_id=abc" in lines[0]
    assert ask(server, "GET", "/api/days").status == 200
