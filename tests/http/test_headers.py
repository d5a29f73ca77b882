"""What every answer carries: CORS, the security headers, the request's id."""

from __future__ import annotations

import http.client
import re
import socket
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

from app import create_app
from app.database import schema
from tests.support.server import Server, free_port
from tests.support.waiting import wait_for

MakeApp = Callable[..., Flask]

GOOD = "https://good.example"
LOCAL = "http://localhost:8000"
LISTED = f"{GOOD}, {LOCAL}"
BOOKING = {"interview": {"student": "Ada", "interviewer": 2}}

# One request for each status that the application gives.
REQUESTS: list[tuple[str, str, dict[str, Any], int]] = [
    ("GET", "/api/days", {}, 200),
    ("GET", "/api/appointments", {}, 200),
    ("GET", "/api/interviewers", {}, 200),
    ("HEAD", "/api/days", {}, 200),
    ("OPTIONS", "/api/days", {}, 200),
    ("PUT", "/api/appointments/2", {"json": BOOKING}, 204),
    ("DELETE", "/api/appointments/2", {}, 204),
    ("GET", "/api/days", {"headers": {"If-None-Match": "*"}}, 304),
    ("PUT", "/api/appointments/2", {"data": b"{", "content_type": "application/json"}, 400),
    ("GET", "/nowhere", {}, 404),
    ("PUT", "/api/appointments/99", {"json": BOOKING}, 404),
    ("POST", "/api/days", {"json": {}}, 405),
    ("PUT", "/api/appointments/3", {"json": BOOKING, "headers": {"If-Match": "*"}}, 412),
    ("PUT", "/api/appointments/2", {"json": {"x": "x" * 200_000}}, 413),
    ("PUT", "/api/appointments/2", {"data": b"hello", "content_type": "text/plain"}, 415),
    ("PUT", "/api/appointments/2", {"json": {}}, 422),
]


@pytest.fixture(scope="module")
def make_client(database_url: str) -> Iterator[Callable[..., FlaskClient]]:
    """Makes clients of applications; keyword arguments override settings."""
    apps: list[Flask] = []

    def make(**overrides: str) -> FlaskClient:
        apps.append(create_app({"DATABASE_URL": database_url, "APP_ENV": "test", **overrides}))
        if len(apps) == 1:
            with apps[0].app_context():
                schema.reset()
        return apps[-1].test_client()

    yield make
    with ThreadPoolExecutor(len(apps) or 1) as threads:
        list(threads.map(lambda app: app.extensions["changes"].stop(), apps))


MakeClient = Callable[..., FlaskClient]


@pytest.fixture(scope="module")
def to_all(make_client: MakeClient) -> FlaskClient:
    """A client of an application that is open to all origins."""
    return make_client()


@pytest.fixture(scope="module")
def to_listed(make_client: MakeClient) -> FlaskClient:
    """A client of an application that is open to two origins."""
    return make_client(CORS_ORIGINS=LISTED)


def ask(client: FlaskClient, request: Any, **headers: str) -> Any:
    """Send one of the requests above, with more headers; check its status."""
    method, path, given, status = request
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    response = client.open(
        path, method=method, **{**given, "headers": {**given.get("headers", {}), **named}}
    )
    assert response.status_code == status
    return response


def words(value: str | None) -> set[str]:
    return {word.strip().lower() for word in (value or "").split(",") if word.strip()}


each_request = pytest.mark.parametrize(
    "request_", REQUESTS, ids=lambda request: f"{request[0]} {request[1]} {request[3]}"
)

# CORS


@each_request
@pytest.mark.parametrize("origin", [None, GOOD, "null", "http://127.0.0.1:3000"])
def test_by_default_every_origin_may_read_every_answer(
    to_all: FlaskClient, request_: Any, origin: str | None
) -> None:
    headers = ask(to_all, request_, **({"Origin": origin} if origin else {})).headers
    assert headers.getlist("Access-Control-Allow-Origin") == ["*"]
    assert "Access-Control-Allow-Credentials" not in headers
    assert "origin" not in words(headers.get("Vary"))
    exposed = words(headers["Access-Control-Expose-Headers"])
    assert {"etag", "retry-after", "x-request-id"} <= exposed


@each_request
@pytest.mark.parametrize("origin", [GOOD, LOCAL])
def test_a_listed_origin_may_read_every_answer(
    to_listed: FlaskClient, request_: Any, origin: str
) -> None:
    headers = ask(to_listed, request_, Origin=origin).headers
    assert headers.getlist("Access-Control-Allow-Origin") == [origin]
    assert "origin" in words(headers["Vary"])
    exposed = words(headers["Access-Control-Expose-Headers"])
    assert {"etag", "retry-after", "x-request-id"} <= exposed


NEAR_MISSES = [
    "https://good.example.evil.example",
    "https://evil.example/https://good.example",
    "https://evilgood.example",
    "https://sub.good.example",
    "https://goodxexample",
    "http://good.example",
    "https://good.example:8443",
    "https://good.example:443",
    "https://good.example/",
    "https://good.example ,https://evil.example",
    f"{GOOD}, {LOCAL}",
    "https://good.exampl",
    "https://GOOD.EXAMPLE",
    "HTTPS://good.example",
    "http://localhost",
    "http://localhost:80000",
    "http://localhost:8001",
    "good.example",
    "null",
    "*",
    "",
    "https://",
]


@pytest.mark.parametrize("origin", NEAR_MISSES)
def test_a_near_miss_may_not(to_listed: FlaskClient, origin: str) -> None:
    preflight = {"Origin": origin, "Access-Control-Request-Method": "PUT"}
    for headers in (
        to_listed.get("/api/days", headers={"Origin": origin}).headers,
        to_listed.get("/nowhere", headers={"Origin": origin}).headers,
        to_listed.options("/api/appointments/1", headers=preflight).headers,
    ):
        assert "Access-Control-Allow-Origin" not in headers
        assert "Access-Control-Allow-Credentials" not in headers
        assert "origin" in words(headers["Vary"])


@each_request
def test_with_a_list_every_answer_varies_also_without_an_origin(
    to_listed: FlaskClient, request_: Any
) -> None:
    headers = ask(to_listed, request_).headers
    assert "Access-Control-Allow-Origin" not in headers
    assert "origin" in words(headers["Vary"])
    assert len(headers.getlist("Vary")) == 1


@pytest.mark.parametrize(
    ("setting", "origin"),
    [
        ("https://GOOD.example", GOOD),
        ("HTTPS://Good.Example/", GOOD),
        ("https://good.example:443", GOOD),
        ("http://good.example:80/", "http://good.example"),
        (" , https://good.example , ", GOOD),
        ("https://good.example:8443", "https://good.example:8443"),
        ("http://[::1]:8000", "http://[::1]:8000"),
    ],
)
def test_the_setting_is_read_as_browsers_write_origins(
    make_client: MakeClient, setting: str, origin: str
) -> None:
    client = make_client(CORS_ORIGINS=setting)
    headers = client.get("/nowhere", headers={"Origin": origin}).headers
    assert headers["Access-Control-Allow-Origin"] == origin


def test_a_star_in_the_list_opens_to_all(make_client: MakeClient) -> None:
    client = make_client(CORS_ORIGINS=f"{GOOD},*")
    headers = client.get("/nowhere", headers={"Origin": "https://other.example"}).headers
    assert headers["Access-Control-Allow-Origin"] == "*"


PATHS = [
    "/",
    "/nowhere",
    "/api/days",
    "/api/days/",
    "/api/appointments",
    "/api/appointments/1",
    "/api/appointments/1/",
    "/api/appointments/abc",
    "/api/interviewers",
]


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
def test_a_preflight_is_allowed_on_any_path(
    to_all: FlaskClient, to_listed: FlaskClient, path: str, method: str
) -> None:
    for client, allowed in ((to_all, "*"), (to_listed, GOOD)):
        response = client.options(
            path,
            headers={
                "Origin": GOOD,
                "Access-Control-Request-Method": method,
                "Access-Control-Request-Headers": "content-type,if-none-match,x-request-id",
            },
        )
        assert response.status_code in {200, 204}
        assert response.data == b""
        headers = response.headers
        assert headers.getlist("Access-Control-Allow-Origin") == [allowed]
        assert headers["Access-Control-Max-Age"] == "7200"
        assert {"get", "put", "delete"} <= words(headers["Access-Control-Allow-Methods"])
        asked = {"content-type", "if-none-match", "x-request-id"}
        assert asked <= words(headers["Access-Control-Allow-Headers"])


def test_a_preflight_without_headers_is_allowed(to_all: FlaskClient) -> None:
    response = to_all.options(
        "/api/appointments/1", headers={"Origin": GOOD, "Access-Control-Request-Method": "DELETE"}
    )
    assert response.status_code in {200, 204}
    assert response.headers["Access-Control-Allow-Origin"] == "*"
    assert response.headers["Access-Control-Max-Age"] == "7200"


def test_an_origin_off_the_list_is_answered_all_the_same(to_listed: FlaskClient) -> None:
    response = to_listed.get("/api/interviewers", headers={"Origin": "https://evil.example"})
    assert response.status_code == 200
    assert list(response.get_json()) == ["1", "2"]


def test_vary_names_the_encoding_too(to_all: FlaskClient, to_listed: FlaskClient) -> None:
    assert words(to_all.get("/api/days").headers["Vary"]) == {"accept-encoding"}
    assert words(to_listed.get("/api/days").headers["Vary"]) == {"accept-encoding", "origin"}


# Security headers


@each_request
def test_no_answer_may_be_sniffed(to_all: FlaskClient, request_: Any) -> None:
    headers = ask(to_all, request_).headers
    assert headers.getlist("X-Content-Type-Options") == ["nosniff"]


@each_request
def test_https_is_demanded_over_https_only(to_all: FlaskClient, request_: Any) -> None:
    assert "Strict-Transport-Security" not in ask(to_all, request_).headers
    method, path, given, status = request_
    over_https = (method, path, {**given, "base_url": "https://localhost"}, status)
    (value,) = ask(to_all, over_https).headers.getlist("Strict-Transport-Security")
    assert re.fullmatch(r"max-age=[1-9][0-9]{6,}(; includeSubDomains)?", value)


# The request's id


@each_request
def test_a_request_id_is_echoed(to_all: FlaskClient, request_: Any) -> None:
    given = "0f8b3c1e-7d52-4b7a-9f1e-3f1c5a1b2c3d"
    headers = ask(to_all, request_, X_Request_ID=given).headers
    assert headers.getlist("X-Request-ID") == [given]


@each_request
def test_a_missing_request_id_is_made_up(to_all: FlaskClient, request_: Any) -> None:
    ids = {ask(to_all, request_).headers["X-Request-ID"] for _ in range(3)}
    assert len(ids) == 3
    assert all(re.fullmatch(r"[A-Za-z0-9-]{16,64}", made_up) for made_up in ids)


@pytest.mark.parametrize(
    "malformed",
    [
        "",
        " ",
        "a b",
        'a"b',
        "a\tb",
        "a;b",
        "<script>",
        "a' status=200",
        "x" * 1000,
        "ü" * 20,
        "a\x00b",
        "a\x1b[31mb",
        "%0a{}",
    ],
    ids=repr,
)
def test_a_malformed_request_id_is_replaced(to_all: FlaskClient, malformed: str) -> None:
    # As the server gives it: the test client refuses to send some of these.
    environ = {"HTTP_X_REQUEST_ID": malformed}
    headers = to_all.get("/nowhere", environ_overrides=environ).headers
    assert re.fullmatch(r"[A-Za-z0-9-]{16,64}", headers["X-Request-ID"])


# The real server


@pytest.fixture(scope="module")
def server(to_all: FlaskClient, database_url: str, tmp_path_factory: Any) -> Iterator[Server]:
    """The real server."""
    settings = {"DATABASE_URL": database_url, "APP_ENV": "test", "PORT": str(free_port())}
    log: Path = tmp_path_factory.mktemp("server") / "log"
    server = Server(settings, log)
    server.wait_until_it_listens()
    wait_for(lambda: server.log.count("listening for changes") == 2)
    yield server
    server.stop()


def send(server: Server, request: bytes) -> tuple[int, http.client.HTTPMessage]:
    """Send bytes as they are; give the answer's status and headers."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as connection:
        connection.sendall(request)
        response = http.client.HTTPResponse(connection)
        response.begin()
        response.read()
        return response.status, response.headers


def get(*lines: bytes, path: bytes = b"/api/days") -> bytes:
    """A GET with these header lines."""
    start = [b"GET " + path + b" HTTP/1.1", b"Host: x", b"Connection: close"]
    return b"\r\n".join([*start, *lines, b"", b""])


def test_the_proxy_says_whether_it_is_https(server: Server) -> None:
    for path in (b"/api/days", b"/nowhere"):
        _, headers = send(server, get(b"X-Forwarded-Proto: https", path=path))
        assert headers["Strict-Transport-Security"]
        for line in (b"X-Forwarded-Proto: http", b"X-Forwarded-Proto: ftp", b"X: https"):
            _, headers = send(server, get(line, path=path))
            assert "Strict-Transport-Security" not in headers


@pytest.mark.parametrize(
    "request_",
    [
        pytest.param(get(), id="200"),
        pytest.param(get(path=b"/nowhere"), id="404"),
        pytest.param(b"POST /api/days HTTP/1.1\r\nHost: x\r\n\r\n", id="405"),
        pytest.param(b"hello\r\n\r\n", id="400"),
        pytest.param(get(b"X: " + b"x" * 20_000), id="431"),
    ],
)
def test_no_header_names_a_version(server: Server, request_: bytes) -> None:
    _, headers = send(server, request_)
    assert "X-Powered-By" not in headers
    for name in ("Server", "Via"):
        assert not re.search(r"[0-9/]", headers.get(name, ""))
    everything = str(headers).lower()
    for software in ("python", "werkzeug", "flask", "gevent", "psycopg", "postgresql"):
        assert software not in everything


def lines_of(server: Server, request_id: str) -> list[str]:
    """Wait for the log to name a request; give all lines that do."""
    wait_for(lambda: f"request_id={request_id}" in server.log)
    return [line for line in server.log.splitlines() if request_id in line]


@pytest.mark.parametrize(
    ("path", "status"), [("/api/days", 200), ("/nowhere", 404), ("/api/appointments/1", 405)]
)
def test_the_request_id_stands_in_the_log_line(server: Server, path: str, status: int) -> None:
    given = f"given-{status}"
    send(server, get(b"X-Request-ID: " + given.encode(), path=path.encode()))
    (line,) = lines_of(server, given)
    assert {f"path={path}", f"status={status}", "method=GET"} <= set(line.split())
    _, headers = send(server, get(path=path.encode()))
    (line,) = lines_of(server, headers["X-Request-ID"])
    assert {f"path={path}", f"status={status}", "method=GET"} <= set(line.split())


def forged(separator: bytes = b" ") -> bytes:
    """What would stand in the log as another line's beginning."""
    return separator.join([b"at=INFO", b"msg=forged", b"status=299"])


HOSTILE = {
    "id with blanks": get(b"X-Request-ID: x " + forged()),
    "id with a quote": get(b'X-Request-ID: x" ' + forged()),
    "id with a line break": get(b"X-Request-ID: x\n" + forged()),
    "id with a folded line": get(b"X-Request-ID: x", b" " + forged()),
    "id with a carriage return": get(b"X-Request-ID: x\r" + forged()),
    "id with a form feed": get(b"X-Request-ID: x\x0c" + forged()),
    "id with a next line": get(b"X-Request-ID: x\xc2\x85" + forged()),
    "id with a line separator": get(b"X-Request-ID: x\xe2\x80\xa8" + forged()),
    "path escaped": get(path=b"/x%0a" + forged(b"%20")),
    "path with a quote": get(path=b'/x"' + forged(b'"')),
    "path with a blank": get(path=b"/x " + forged()),
    "path with a tab": get(path=b"/x\t" + forged(b"\t")),
    "path with a form feed": get(path=b"/x\x0c" + forged(b"\x0c")),
    "path with a vertical tab": get(path=b"/x\x0b" + forged(b"\x0b")),
    "path with a carriage return": get(path=b"/x\r" + forged(b"\x0b")),
    "path with a next line": get(path=b"/x\x85" + forged(b"\xc2\x85")),
    "path with a line separator": get(path=b"/x\xe2\x80\xa8" + forged(b"\xe2\x80\xa8")),
    "path with an escape": get(path=b"/x\x1b[2K" + forged(b"\x1b")),
    "path with a NUL": get(path=b"/x\0" + forged(b"\0")),
    "query": get(path=b"/x?a=" + forged(b"%0a")),
    "fragment": get(path=b"/x#\x0b" + forged(b"\x0b")),
    "method": b"GET\x0b" + forged(b"\x0b") + b" / HTTP/1.1\r\nHost: x\r\n\r\n",
    "version": b"GET / HTTP/1.1\x0b" + forged(b"\x0b") + b"\r\nHost: x\r\n\r\n",
    "header's name": get(b"x " + forged() + b": x"),
    "forwarded for": get(b"X-Forwarded-For: 10.0.0.1 " + forged()),
    "forwarded for with a next line": get(b"X-Forwarded-For: 10.0.0.1\xc2\x85" + forged()),
    "user agent": get(b'User-Agent: "\x0b' + forged()),
    "slot": get(path=b"/api/appointments/1%0a" + forged(b"%20")),
}


@pytest.mark.parametrize(
    "request_", [pytest.param(text, id=name) for name, text in HOSTILE.items()]
)
def test_a_hostile_request_cannot_forge_a_line(
    server: Server, request: pytest.FixtureRequest, request_: bytes
) -> None:
    mark = re.sub(r"\W", "-", request.node.name)
    before = server.log
    send(server, request_)
    send(server, get(b"X-Request-ID: " + mark.encode(), path=b"/after"))

    def logged() -> list[str]:
        lines = server.log.removeprefix(before).splitlines()
        return lines if any(f"request_id={mark}" in line for line in lines) else []

    wait_for(lambda: len(logged()) > 1)
    ours = [line for line in logged() if "path=/after" not in line]
    assert len(ours) == 1
    fields = re.findall(r'(?:^| )([a-z_]+)=("(?:[^"\\]|\\.)*"|[^ "]*)', ours[0])
    rebuilt = " ".join(f"{name}={value}" for name, value in fields)
    assert rebuilt == ours[0]
    assert ours[0].isprintable()
    names = [name for name, _ in fields]
    assert len(names) == len(set(names))
    assert dict(fields)["msg"] != "forged"
    assert dict(fields).get("status") != "299"
