"""What gunicorn refuses: malformed, oversized and ambiguous requests get a problem too."""

from __future__ import annotations

import http.client
import socket
import time
from contextlib import suppress

import pytest

from tests.support import short_timeouts
from tests.support.database import Sql
from tests.support.http import BODY_BYTES, ask, raw_get, send_bytes
from tests.support.pace import is_within
from tests.support.problems import assert_open_to_browsers, assert_problem
from tests.support.server import Serve, Server
from tests.support.waiting import wait_for
from tests.support.websocket import HANDSHAKE


@pytest.fixture(scope="module")
def server(tables: None, serve_module: Serve) -> Server:
    """The real server, for all requests that it refuses."""
    return serve_module(WEB_CONCURRENCY="1")


@pytest.fixture(
    params=[
        pytest.param(("impatient", 3 + short_timeouts.BODY_TIMEOUT), id="short timeout"),
        pytest.param(("server", 30.0), id="real timeout", marks=pytest.mark.slow),
    ]
)
def limited(request: pytest.FixtureRequest) -> tuple[Server, float]:
    """A server, and the seconds after which it has refused an unfinished body."""
    name, limit = request.param
    return request.getfixturevalue(name), limit


@pytest.fixture(scope="module")
def impatient(server: Server, serve_module: Serve) -> Server:
    return serve_module(short_timeouts.COMMAND, WEB_CONCURRENCY="1")


def put(*lines: bytes, body: bytes = b"") -> bytes:
    """Return a PUT with these header lines."""
    start = [b"PUT /api/appointments/2 HTTP/1.1", b"Host: x", b"Content-Type: application/json"]
    return b"\r\n".join([*start, *lines, b"", body])


def chunks(size: int, number: int) -> bytes:
    """Return a body of `number` chunks of this size."""
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
    "header without colon": (400, raw_get(b"hello")),
    "header without name": (400, raw_get(b": hello")),
    "blank in a header's name": (400, raw_get(b"Bad Name: x")),
    "blank before the colon": (400, raw_get(b"Name : x")),
    "header's name not ASCII": (400, raw_get(b"N\xc3\xa4me: x")),
    "NUL in a header": (400, raw_get(b"Name: a\0b")),
    "CR in a header": (400, raw_get(b"Name: a\rb")),
    "folded header": (400, raw_get(b"Name: a", b" b")),
    "header of 20 kB": (431, raw_get(b"Name: " + b"x" * 20_000)),
    "1,000 headers": (431, raw_get(*(b"Name-%d: x" % number for number in range(1000)))),
    "request line of 5 kB": (414, b"GET /" + b"x" * 5000 + b" HTTP/1.1\r\nHost: x\r\n\r\n"),
    "request line of 100 kB": (414, b"GET /" + b"x" * 100_000 + b" HTTP/1.1\r\n\r\n"),
    "query of 5 kB": (414, b"GET /api/days?" + b"x" * 5000 + b" HTTP/1.1\r\nHost: x\r\n\r\n"),
    "appointment of 5,000 digits": (
        414,
        b"PUT /api/appointments/" + b"9" * 5000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
    ),
    "length no number": (400, put(b"Content-Length: x", body=BODY_BYTES)),
    "length negative": (400, put(b"Content-Length: -1", body=BODY_BYTES)),
    "length with a sign": (400, put(b"Content-Length: +47", body=BODY_BYTES)),
    "length empty": (400, put(b"Content-Length:", body=BODY_BYTES)),
    "two lengths": (400, put(b"Content-Length: 47", b"Content-Length: 5", body=BODY_BYTES)),
    "length and chunks": (400, put(b"Content-Length: 47", CHUNKED, body=b"0\r\n\r\n")),
    "length of 300 kB": (413, put(b"Content-Length: 300000", body=b" " * 300_000)),
    "length of a terabyte": (413, put(b"Content-Length: 1000000000000", body=BODY_BYTES)),
    "unknown transfer coding": (501, put(b"Transfer-Encoding: tea", body=BODY_BYTES)),
    "gzip as transfer coding": (400, put(b"Transfer-Encoding: gzip", body=BODY_BYTES)),
    "gzip and chunks": (501, put(b"Transfer-Encoding: gzip, chunked", body=chunks(2, 1))),
    "deflate and chunks": (501, put(b"Transfer-Encoding: deflate, chunked", body=chunks(2, 1))),
    "compress and chunks": (501, put(b"Transfer-Encoding: compress, chunked", body=chunks(2, 1))),
    "GET with gzip and chunks": (501, raw_get(b"Transfer-Encoding: gzip, chunked") + chunks(2, 1)),
    "unknown path with gzip and chunks": (
        501,
        b"POST /nowhere HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip, chunked\r\n\r\n"
        + chunks(2, 1),
    ),
    # RFC 6455, section 4.2.1: a handshake is HTTP/1.1 or higher.
    "handshake over HTTP/1.0": (
        400,
        b"GET / HTTP/1.0\r\nHost: x\r\n"
        + b"".join(f"{name}: {value}\r\n".encode() for name, value in HANDSHAKE.items())
        + b"\r\n",
    ),
    "unknown expectation": (417, put(b"Expect: tea", b"Content-Length: 47", body=BODY_BYTES)),
    "chunk without number": (400, put(CHUNKED, body=b"hello\r\n" + BODY_BYTES)),
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
def test_a_refused_request_gets_a_problem_and_the_server_keeps_serving(
    server: Server, status: int, request_: bytes
) -> None:
    started = time.monotonic()
    response = send_bytes(server, request_)
    assert is_within(time.monotonic() - started, 2)
    assert response.status == status
    assert_problem(response.headers, response.body, status)
    assert_open_to_browsers(response.headers)
    assert ask(server, "GET", "/api/days").status == 200
    assert server.log.count("Booting worker") == 1
    assert "Traceback" not in server.log


@pytest.mark.parametrize(
    "request_",
    [
        pytest.param(put(b"Content-Length: 47", body=BODY_BYTES[:20]), id="cut"),
        pytest.param(put(b"Content-Length: 47"), id="nothing"),
        pytest.param(put(b"Content-Length: 48", body=BODY_BYTES), id="one byte short"),
        pytest.param(put(CHUNKED, body=b"2f\r\n" + BODY_BYTES[:20]), id="cut chunk"),
        pytest.param(put(CHUNKED, body=b"2f\r\n" + BODY_BYTES + b"\r\n"), id="no last chunk"),
        pytest.param(put(CHUNKED), id="no chunk"),
    ],
)
def test_a_body_shorter_than_announced_is_400_and_stores_nothing(
    server: Server, sql: Sql, request_: bytes
) -> None:
    before = sql("SELECT * FROM interviews")
    response = send_bytes(server, request_, ends=True)
    assert response.status == 400
    assert_problem(response.headers, response.body, 400)
    assert_open_to_browsers(response.headers)
    assert sql("SELECT * FROM interviews") == before
    assert ask(server, "GET", "/api/days").status == 200
    assert "Traceback" not in server.log


def test_a_body_that_is_too_large_is_refused_before_it_is_sent(server: Server) -> None:
    response = send_bytes(server, put(b"Expect: 100-continue", b"Content-Length: 300000"))
    assert response.status == 413
    assert_problem(response.headers, response.body, 413)


def test_a_body_that_stalls_gets_408_within_30_seconds(limited: tuple[Server, float]) -> None:
    server, limit = limited
    response = send_bytes(
        server, put(b"Content-Length: 47", body=BODY_BYTES[:20]), seconds=limit + 5
    )
    assert is_within(response.seconds, limit)
    assert_problem(response.headers, response.body, 408)
    assert ask(server, "GET", "/api/days").status == 200


@pytest.mark.parametrize(
    ("framing", "drip"), [(b"Content-Length: 1000", b" "), (CHUNKED, b"1\r\n \r\n")]
)
def test_a_dripping_body_gets_408_within_30_seconds(
    limited: tuple[Server, float], framing: bytes, drip: bytes
) -> None:
    server, limit = limited
    with socket.create_connection(("127.0.0.1", server.port)) as connection:
        connection.sendall(put(framing))
        started = time.monotonic()
        connection.settimeout(0.2)
        response = b""
        while time.monotonic() - started < limit + 5:
            with suppress(BrokenPipeError, ConnectionResetError):
                connection.sendall(drip)
            try:
                data = connection.recv(65536)
            except TimeoutError:
                continue
            except ConnectionResetError:
                break
            response += data
            if not data or b"}" in response:
                break
        assert is_within(time.monotonic() - started, limit)
        assert response.startswith(b"HTTP/1.1 408 ")
        assert b"application/problem+json" in response


@pytest.mark.parametrize("path", ["//api/days", "///", "/%", "/%zz", "/%00", "/a%0d%0ab", "/?"])
def test_an_unusual_path_is_404(server: Server, path: str) -> None:
    response = send_bytes(server, f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    assert response.status == 404
    assert_problem(response.headers, response.body, 404)
    assert_open_to_browsers(response.headers)


@pytest.mark.parametrize(
    "line",
    ["GET http://x/api/days HTTP/1.1", "GET /api/days?a=%zz HTTP/1.1", "GET /api/days HTTP/1.0"],
)
def test_an_unusual_but_valid_request_succeeds(server: Server, line: str) -> None:
    response = send_bytes(server, f"{line}\r\nHost: x\r\n\r\n".encode())
    assert (response.status, response.headers["Content-Type"]) == (200, "application/json")


def test_the_log_names_the_client_of_a_refused_request(server: Server) -> None:
    response = send_bytes(server, b"hello\r\n\r\n")
    request_id = response.headers["X-Request-ID"]
    wait_for(lambda: f"request_id={request_id}" in server.log)
    (line,) = [line for line in server.log.splitlines() if request_id in line]
    assert 'msg="request refused" status=400' in line
    assert " client=127.0.0.1 " in line


def test_a_chunked_body_is_accepted(server: Server) -> None:
    body = b"".join(b"1\r\n%c\r\n" % byte for byte in BODY_BYTES) + b"0\r\n\r\n"
    assert send_bytes(server, put(CHUNKED, body=body)).status == 204


def test_an_unneeded_body_is_not_taken_for_the_next_request(server: Server) -> None:
    smuggled = b"DELETE /api/appointments/1 HTTP/1.1\r\nHost: x\r\n\r\n"
    length = b"Content-Length: %d" % len(smuggled)
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
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
    assert send_bytes(server, request_).status == 200
