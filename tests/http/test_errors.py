"""Every error is a problem (RFC 9457): a view's, PostgreSQL's, gunicorn's."""

from __future__ import annotations

import http.client
import io
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from http import HTTPStatus
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from flask import Flask
from flask.testing import FlaskClient
from psycopg2.extensions import parse_dsn

from app import create_app
from app.database import schema
from tests.support.database import Sql, as_url, reseed
from tests.support.server import Server, free_port
from tests.support.waiting import wait_for

MakeApp = Callable[..., Flask]

JSON = {"Content-Type": "application/json"}
GOOD = b'{"interview":{"student":"Ada","interviewer":2}}'
# Phrases as RFC 9110 has them.
TITLES = {413: "Content Too Large", 414: "URI Too Long", 422: "Unprocessable Content"}

READS = ["/api/days", "/api/appointments", "/api/interviewers"]
ONE_SLOT = "/api/appointments/1"


@pytest.fixture(scope="module")
def make_app(database_url: str) -> Iterator[MakeApp]:
    """Makes applications; keyword arguments override settings."""
    apps: list[Flask] = []

    def make(**overrides: str) -> Flask:
        apps.append(create_app({"DATABASE_URL": database_url, "APP_ENV": "test", **overrides}))
        return apps[-1]

    yield make
    with ThreadPoolExecutor(len(apps) or 1) as threads:
        list(threads.map(lambda app: app.extensions["changes"].stop(), apps))


@pytest.fixture(scope="module")
def application(make_app: MakeApp) -> Flask:
    """One application for all tests of this module."""
    return make_app()


@pytest.fixture
def app(application: Flask) -> Flask:
    """That application, on a freshly seeded database."""
    reseed(application)
    return application


def assert_problem(headers: Any, body: bytes, status: int) -> None:
    """Check that this is a problem without details of a body."""
    assert headers["Content-Type"] == "application/problem+json"
    problem = json.loads(body)
    detail = problem.pop("detail")
    assert isinstance(detail, str)
    assert 0 < len(detail) < 1000
    title = TITLES.get(status) or HTTPStatus(status).phrase
    assert problem == {"type": "about:blank", "title": title, "status": status}


def assert_open_to_browsers(headers: Any) -> None:
    """Check that a script in a browser may read this answer."""
    assert headers["Access-Control-Allow-Origin"] == "*"
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["X-Request-ID"]


# Unknown paths and methods

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
def test_an_unknown_path_is_404_for_every_method(client: FlaskClient, path: str) -> None:
    for method in ("GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS"):
        # As the server gives it: the test client takes "//api" for a host.
        response = client.open(method=method, environ_overrides={"PATH_INFO": path})
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


def allow(headers: Any) -> set[str]:
    return {method.strip() for method in headers["Allow"].split(",")}


@pytest.mark.parametrize("slash", ["", "/"], ids=["plain", "slash"])
@pytest.mark.parametrize(
    ("path", "method"),
    [(path, method) for path in ALLOWED for method in sorted(METHODS - ALLOWED[path])],
)
def test_a_wrong_method_is_405_with_allow(
    client: FlaskClient, path: str, method: str, slash: str
) -> None:
    response = client.open(path + slash, method=method, data=GOOD, headers=JSON)
    assert response.status_code == 405
    assert allow(response.headers) == ALLOWED[path]
    assert_open_to_browsers(response.headers)
    if method != "HEAD":
        assert_problem(response.headers, response.data, 405)


@pytest.mark.parametrize("slash", ["", "/"], ids=["plain", "slash"])
@pytest.mark.parametrize("path", ALLOWED)
def test_options_tells_what_is_allowed(client: FlaskClient, path: str, slash: str) -> None:
    response = client.options(path + slash)
    assert response.status_code in {200, 204}
    assert (allow(response.headers), response.data) == (ALLOWED[path], b"")
    assert_open_to_browsers(response.headers)


@pytest.mark.parametrize("path", [*READS, *(f"{path}/" for path in READS), "/nowhere", ONE_SLOT])
def test_head_is_get_without_the_body(client: FlaskClient, path: str) -> None:
    get, head = client.get(path), client.head(path)
    assert (head.status_code, head.data) == (get.status_code, b"")

    def described(headers: Any) -> dict[str, str]:
        return {name: value for name, value in headers.items() if name != "X-Request-ID"}

    assert described(head.headers) == described(get.headers)


# TEST_ERROR and SAVE_DELAY


@pytest.mark.parametrize("value", ["1", "true", "yes", "on", "TRUE", "Yes", "oN", " true "])
def test_test_error_fails_every_put_and_delete(app: Flask, make_app: MakeApp, value: str) -> None:
    client = make_app(TEST_ERROR=value).test_client()
    before = client.get("/api/appointments").json
    for method in ("PUT", "DELETE"):
        for slot in ("1", "2", "99", "abc"):
            for body in (GOOD, b"", b"[]"):
                response = client.open(
                    f"/api/appointments/{slot}", method=method, data=body, headers=JSON
                )
                assert response.status_code == 500
                assert_problem(response.headers, response.data, 500)
                assert_open_to_browsers(response.headers)
    response = client.get("/api/appointments")
    assert (response.status_code, response.json) == (200, before)
    assert client.get("/api/days").status_code == 200


@pytest.mark.parametrize("value", ["", " ", "0", "false", "no", "off", "2", "y", "t", "enabled"])
def test_any_other_test_error_is_off(app: Flask, make_app: MakeApp, value: str) -> None:
    client = make_app(TEST_ERROR=value).test_client()
    assert client.put("/api/appointments/2", data=GOOD, headers=JSON).status_code == 204
    assert client.delete("/api/appointments/1").status_code == 204


@pytest.mark.parametrize(("test_error", "status"), [("", 204), ("true", 500)])
def test_save_delay_holds_back_the_answer_to_a_write(
    app: Flask, make_app: MakeApp, test_error: str, status: int
) -> None:
    client = make_app(TEST_ERROR=test_error, SAVE_DELAY="0.4").test_client()
    for method in ("PUT", "DELETE"):
        started = time.monotonic()
        response = client.open("/api/appointments/2", method=method, data=GOOD, headers=JSON)
        assert response.status_code == status
        assert 0.4 <= time.monotonic() - started < 1.4
    started = time.monotonic()
    for path in READS:
        assert client.get(path).status_code == 200
    assert time.monotonic() - started < 0.4


# What nobody expected


def test_an_unexpected_error_is_a_problem_without_details_and_one_line_in_the_log(
    client: FlaskClient, sql: Sql, log: io.StringIO
) -> None:
    sql("ALTER TABLE interviews ADD CONSTRAINT no_ada CHECK (student <> 'Ada')")
    response = client.put(
        "/api/appointments/2", data=GOOD, headers={**JSON, "X-Request-ID": "the-failing-one"}
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
    bob = {"interview": {"student": "Bob", "interviewer": 2}}
    assert client.put("/api/appointments/2", json=bob).status_code == 204


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


def test_an_unexpected_error_in_the_real_server_is_the_same(
    client: FlaskClient, sql: Sql, serve: Callable[..., Server]
) -> None:
    server = serve(FLASK_DEBUG="1")
    sql("ALTER TABLE interviews ADD CONSTRAINT no_ada CHECK (student <> 'Ada')")
    answer = ask(server, "PUT", "/api/appointments/2", GOOD, {**JSON, "X-Request-ID": "abc"})
    assert answer.status == 500
    assert_problem(answer.headers, answer.body, 500)
    assert_open_to_browsers(answer.headers)
    assert b"no_ada" not in answer.body
    wait_for(lambda: "status=500" in server.log)
    lines = [line for line in server.log.splitlines() if "no_ada" in line]
    assert len(lines) == 1
    assert "request_id=abc" in lines[0]
    assert ask(server, "GET", "/api/days").status == 200


# PostgreSQL is away

WRITES = [("PUT", "/api/appointments/2"), ("DELETE", "/api/appointments/1")]
EVERYTHING = [*(("GET", path) for path in READS), *WRITES]


def assert_unavailable(response: Any, seconds: float) -> None:
    assert response.status_code == 503
    assert_problem(response.headers, response.data, 503)
    assert_open_to_browsers(response.headers)
    assert int(response.headers["Retry-After"]) > 0
    assert "ETag" not in response.headers
    assert seconds < 5


# In the order in which the server's statements lock them: no deadlock.
TABLES = ["days", "appointments", "interviewers", "interviews", "available_interviewers"]


@pytest.mark.parametrize("table", TABLES)
def test_a_missing_table_is_503_where_it_is_needed(
    client: FlaskClient, sql: Sql, log: io.StringIO, table: str
) -> None:
    needed = {
        "days": [("GET", "/api/days")],
        "appointments": [("GET", "/api/days"), ("GET", "/api/appointments"), *WRITES],
        "interviewers": [("GET", "/api/interviewers"), ("PUT", "/api/appointments/2")],
        "interviews": [("GET", "/api/days"), ("GET", "/api/appointments"), *WRITES],
        "available_interviewers": [("GET", "/api/days")],
    }
    sql(f"BEGIN; LOCK TABLE {', '.join(TABLES)}; DROP TABLE {table} CASCADE; COMMIT")
    for method, path in needed[table]:
        started = time.monotonic()
        response = client.open(path, method=method, data=GOOD, headers=JSON)
        assert_unavailable(response, time.monotonic() - started)
    assert "Traceback" not in log.getvalue()


def test_without_tables_everything_is_503_until_they_are_made(
    app: Flask, client: FlaskClient, sql: Sql
) -> None:
    sql(f"DROP TABLE {', '.join(TABLES)}")
    for method, path in EVERYTHING:
        started = time.monotonic()
        response = client.open(path, method=method, data=GOOD, headers=JSON)
        assert_unavailable(response, time.monotonic() - started)
    with app.app_context():
        schema.prepare()
    for path in READS:
        assert client.get(path).status_code == 200


@contextmanager
def silent_server() -> Iterator[int]:
    """Accept connections and say nothing; give the port."""
    with socket.create_server(("127.0.0.1", 0), backlog=100) as server:
        yield server.getsockname()[1]


@contextmanager
def rude_server() -> Iterator[int]:
    """Accept connections and close them at once; give the port."""

    def hang_up(server: socket.socket) -> None:
        while True:
            try:
                server.accept()[0].close()
            except OSError:
                return

    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=hang_up, args=[server])
        thread.start()
        yield server.getsockname()[1]
        server.shutdown(socket.SHUT_RDWR)
        thread.join()


@contextmanager
def no_server() -> Iterator[int]:
    """Give a port that nobody listens on."""
    yield free_port()


@pytest.mark.parametrize("server", [no_server, rude_server, silent_server])
def test_an_unreachable_database_is_503_in_time(
    app: Flask, make_app: MakeApp, log: io.StringIO, server: Callable[[], Any]
) -> None:
    with server() as port:
        url = f"postgresql://ada:secret@127.0.0.1:{port}/x"
        client = make_app(DATABASE_URL=url).test_client()
        for method, path in [("GET", "/api/days"), *WRITES]:
            started = time.monotonic()
            response = client.open(path, method=method, data=GOOD, headers=JSON)
            assert_unavailable(response, time.monotonic() - started)
    assert "Traceback" not in log.getvalue()
    assert "secret" not in log.getvalue()


def test_a_database_that_does_not_exist_is_503(
    app: Flask, make_app: MakeApp, database_url: str
) -> None:
    url = as_url({**parse_dsn(database_url), "dbname": "nowhere"})
    client = make_app(DATABASE_URL=url).test_client()
    for method, path in EVERYTHING:
        started = time.monotonic()
        response = client.open(path, method=method, data=GOOD, headers=JSON)
        assert_unavailable(response, time.monotonic() - started)


def test_many_who_wait_for_a_silent_database_all_have_their_answer_in_time(
    make_app: MakeApp,
) -> None:
    with silent_server() as port:
        app = make_app(DATABASE_URL=f"postgresql://ada@127.0.0.1:{port}/x")

        def read(number: int) -> tuple[int, bool]:
            started = time.monotonic()
            status = app.test_client().get(READS[number % 3]).status_code
            return status, time.monotonic() - started < 5

        with ThreadPoolExecutor(12) as threads:
            assert set(threads.map(read, range(12))) == {(503, True)}


NEEDS_NO_DATABASE = [
    ("GET", "/nowhere", b"", {}, 404),
    ("PUT", "/api/appointments/abc", GOOD, JSON, 404),
    ("DELETE", "/api/appointments/9999999999", b"", {}, 404),
    ("POST", "/api/days", GOOD, JSON, 405),
    ("PUT", ONE_SLOT, b"{", JSON, 400),
    ("PUT", ONE_SLOT, b" " * 200_000, JSON, 413),
    ("PUT", ONE_SLOT, GOOD, {"Content-Type": "text/plain"}, 415),
    ("PUT", ONE_SLOT, b"{}", JSON, 422),
    ("OPTIONS", ONE_SLOT, b"", {}, 200),
    (
        "OPTIONS",
        ONE_SLOT,
        b"",
        {"Origin": "https://app.example", "Access-Control-Request-Method": "PUT"},
        204,
    ),
]


def test_what_needs_no_database_does_not_wait_for_one(make_app: MakeApp) -> None:
    with silent_server() as port:
        client = make_app(DATABASE_URL=f"postgresql://ada@127.0.0.1:{port}/x").test_client()
        for method, path, body, headers, status in NEEDS_NO_DATABASE:
            started = time.monotonic()
            response = client.open(path, method=method, data=body, headers=headers)
            assert (path, response.status_code) == (path, status)
            assert time.monotonic() - started < 1


# What gunicorn refuses


class Answer(NamedTuple):
    """What came back over a connection of its own."""

    status: int
    headers: http.client.HTTPMessage
    body: bytes


@pytest.fixture(scope="module")
def server(application: Flask, database_url: str, tmp_path_factory: Any) -> Iterator[Server]:
    """The real server, one for all requests that it refuses."""
    with application.app_context():
        schema.reset()
    settings = {"DATABASE_URL": database_url, "APP_ENV": "test", "PORT": str(free_port())}
    log: Path = tmp_path_factory.mktemp("server") / "log"
    server = Server(settings, log)
    server.wait_until_it_listens()
    wait_for(lambda: len(server.workers) == 2)
    yield server
    server.stop()


def ask(
    server: Server,
    method: str,
    path: str,
    body: bytes | None = None,
    headers: dict[str, str] | None = None,
) -> Answer:
    """Send a well-formed request."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
    try:
        connection.request(method, path, body, headers or {})
        response = connection.getresponse()
        return Answer(response.status, response.headers, response.read())
    finally:
        connection.close()


def send(server: Server, *pieces: bytes, ends: bool = False, seconds: float = 10) -> Answer:
    """Send bytes as they are, and end this direction of the connection if asked to."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=seconds) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for piece in pieces:
            connection.sendall(piece)
        if ends:
            connection.shutdown(socket.SHUT_WR)
        response = http.client.HTTPResponse(connection)
        response.begin()
        return Answer(response.status, response.headers, response.read())


def get(*lines: bytes) -> bytes:
    """A GET with these header lines."""
    return b"\r\n".join([b"GET /api/days HTTP/1.1", b"Host: x", *lines, b"", b""])


def put(*lines: bytes, body: bytes = b"") -> bytes:
    """A PUT with these header lines."""
    start = [b"PUT /api/appointments/2 HTTP/1.1", b"Host: x", b"Content-Type: application/json"]
    return b"\r\n".join([*start, *lines, b"", body])


def chunks(size: int, number: int) -> bytes:
    """A body in so many chunks of this size."""
    return (b"%x\r\n%s\r\n" % (size, b" " * size)) * number + b"0\r\n\r\n"


CHUNKED = b"Transfer-Encoding: chunked"

REFUSED = {
    "no HTTP": (400, b"hello\r\n\r\n"),
    "empty words": (400, b"   \r\n\r\n"),
    "no version": (400, b"GET /api/days\r\n\r\n"),
    "another protocol": (400, b"GET /api/days FTP/1.0\r\n\r\n"),
    "lower case protocol": (400, b"GET /api/days http/1.1\r\n\r\n"),
    "no version's number": (400, b"GET /api/days HTTP/x\r\n\r\n"),
    "blank in the path": (400, b"GET /api/days and nights HTTP/1.1\r\n\r\n"),
    "bad method": (400, b"G@T /api/days HTTP/1.1\r\n\r\n"),
    "method in lower case": (400, b"get /api/days HTTP/1.1\r\n\r\n"),
    "TLS": (400, b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n"),
    "null bytes": (400, b"\0\0\0\0\r\n\r\n"),
    "header without colon": (400, get(b"hello")),
    "header without name": (400, get(b": hello")),
    "blank in a header's name": (400, get(b"Bad Name: x")),
    "blank before the colon": (400, get(b"Name : x")),
    "header's name not ASCII": (400, get(b"N\xc3\xa4me: x")),
    "NUL in a header": (400, get(b"Name: a\0b")),
    "CR in a header": (400, get(b"Name: a\rb")),
    "folded header": (400, get(b"Name: a", b" b")),
    "header of 20 kB": (431, get(b"Name: " + b"x" * 20_000)),
    "1,000 headers": (431, get(*(b"Name-%d: x" % number for number in range(1000)))),
    "request line of 5 kB": (414, b"GET /" + b"x" * 5000 + b" HTTP/1.1\r\nHost: x\r\n\r\n"),
    "request line of 100 kB": (414, b"GET /" + b"x" * 100_000 + b" HTTP/1.1\r\n\r\n"),
    "query of 5 kB": (414, b"GET /api/days?" + b"x" * 5000 + b" HTTP/1.1\r\nHost: x\r\n\r\n"),
    "slot of 5,000 digits": (
        414,
        b"PUT /api/appointments/" + b"9" * 5000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
    ),
    "length no number": (400, put(b"Content-Length: x", body=GOOD)),
    "length negative": (400, put(b"Content-Length: -1", body=GOOD)),
    "length with a sign": (400, put(b"Content-Length: +47", body=GOOD)),
    "length empty": (400, put(b"Content-Length:", body=GOOD)),
    "two lengths": (400, put(b"Content-Length: 47", b"Content-Length: 5", body=GOOD)),
    "length and chunks": (400, put(b"Content-Length: 47", CHUNKED, body=b"0\r\n\r\n")),
    "length of 300 kB": (413, put(b"Content-Length: 300000", body=b" " * 300_000)),
    "length of a terabyte": (413, put(b"Content-Length: 1000000000000", body=GOOD)),
    "unknown transfer coding": (501, put(b"Transfer-Encoding: tea", body=GOOD)),
    "gzip as transfer coding": (400, put(b"Transfer-Encoding: gzip", body=GOOD)),
    "unknown expectation": (417, put(b"Expect: tea", b"Content-Length: 47", body=GOOD)),
    "chunk without number": (400, put(CHUNKED, body=b"hello\r\n" + GOOD)),
    "negative chunk": (400, put(CHUNKED, body=b"-5\r\nhello\r\n0\r\n\r\n")),
    "chunk longer than its number": (400, put(CHUNKED, body=b"2\r\nhello\r\n0\r\n\r\n")),
    "chunk without line end": (400, put(CHUNKED, body=b"5\r\nhelloXX0\r\n\r\n")),
    "no body in chunks": (400, put(CHUNKED, body=b"0\r\n\r\n")),
    "no JSON in chunks": (400, put(CHUNKED, body=b"5\r\nhello\r\n0\r\n\r\n")),
    "chunk of 300 kB": (413, put(CHUNKED, body=chunks(300_000, 1))),
    "chunks of 1 kB": (413, put(CHUNKED, body=chunks(1000, 300))),
}


@pytest.mark.parametrize(
    ("status", "request_"), [pytest.param(*case, id=name) for name, case in REFUSED.items()]
)
def test_the_server_refuses_with_a_problem_and_serves_on(
    server: Server, status: int, request_: bytes
) -> None:
    workers = server.workers
    started = time.monotonic()
    answer = send(server, request_)
    assert time.monotonic() - started < 2
    assert answer.status == status
    assert_problem(answer.headers, answer.body, status)
    assert_open_to_browsers(answer.headers)
    assert ask(server, "GET", "/api/days").status == 200
    assert server.workers == workers
    assert "Traceback" not in server.log


@pytest.mark.parametrize(
    "request_",
    [
        pytest.param(put(b"Content-Length: 47", body=GOOD[:20]), id="cut"),
        pytest.param(put(b"Content-Length: 47"), id="nothing"),
        pytest.param(put(b"Content-Length: 48", body=GOOD), id="one byte short"),
        pytest.param(put(CHUNKED, body=b"2f\r\n" + GOOD[:20]), id="cut chunk"),
        pytest.param(put(CHUNKED, body=b"2f\r\n" + GOOD + b"\r\n"), id="no last chunk"),
        pytest.param(put(CHUNKED), id="no chunk"),
    ],
)
def test_a_body_shorter_than_announced_is_400_and_stores_nothing(
    server: Server, sql: Sql, request_: bytes
) -> None:
    before = sql("SELECT * FROM interviews")
    answer = send(server, request_, ends=True)
    assert answer.status == 400
    assert_problem(answer.headers, answer.body, 400)
    assert_open_to_browsers(answer.headers)
    assert sql("SELECT * FROM interviews") == before
    assert ask(server, "GET", "/api/days").status == 200
    assert "Traceback" not in server.log


def test_a_body_that_is_too_large_is_refused_before_it_is_sent(server: Server) -> None:
    answer = send(server, put(b"Expect: 100-continue", b"Content-Length: 300000"))
    assert answer.status == 413
    assert_problem(answer.headers, answer.body, 413)


@pytest.mark.slow
def test_a_body_that_stalls_is_let_go_within_30_seconds(server: Server) -> None:
    started = time.monotonic()
    answer = send(server, put(b"Content-Length: 47", body=GOOD[:20]), seconds=35)
    assert time.monotonic() - started < 30
    assert_problem(answer.headers, answer.body, 408)
    assert ask(server, "GET", "/api/days").status == 200


@pytest.mark.parametrize("path", ["//api/days", "///", "/%", "/%zz", "/%00", "/a%0d%0ab", "/?"])
def test_an_odd_path_is_404(server: Server, path: str) -> None:
    answer = send(server, f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    assert answer.status == 404
    assert_problem(answer.headers, answer.body, 404)
    assert_open_to_browsers(answer.headers)


@pytest.mark.parametrize(
    "line",
    ["GET http://x/api/days HTTP/1.1", "GET /api/days?a=%zz HTTP/1.1", "GET /api/days HTTP/1.0"],
)
def test_an_odd_but_proper_request_is_answered(server: Server, line: str) -> None:
    answer = send(server, f"{line}\r\nHost: x\r\n\r\n".encode())
    assert (answer.status, answer.headers["Content-Type"]) == (200, "application/json")


def test_a_body_in_chunks_is_taken(server: Server) -> None:
    body = b"".join(b"1\r\n%c\r\n" % byte for byte in GOOD) + b"0\r\n\r\n"
    assert send(server, put(CHUNKED, body=body)).status == 204


def test_a_body_that_a_request_does_not_need_is_not_taken_for_the_next(server: Server) -> None:
    smuggled = b"DELETE /api/appointments/1 HTTP/1.1\r\nHost: x\r\n\r\n"
    length = b"Content-Length: %d" % len(smuggled)
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
    for method, path, status in [
        ("GET", "/api/days", 200),
        ("PUT", "/api/days", 405),
        ("GET", "/nowhere", 404),
        ("DELETE", "/api/appointments/99", 404),
        ("PUT", "/api/appointments/2", 415),
    ]:
        connection.request(method, path, smuggled)
        response = connection.getresponse()
        assert (path, response.status) == (path, status)
        response.read()
    connection.close()
    request_ = b"GET /api/days HTTP/1.1\r\nHost: x\r\n" + length + b"\r\n\r\n" + smuggled
    assert send(server, request_).status == 200
