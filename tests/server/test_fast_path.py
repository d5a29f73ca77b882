"""The fast path sends what gunicorn would send, byte for byte, or leaves the request to it."""

from __future__ import annotations

import itertools
import re
import socket
from typing import Any, NamedTuple

import pytest
from gunicorn.config import Config

from app import create_app
from app.server.fast_path import FastPath, RenderedResponse
from app.server.plain_request import PlainRequestParser
from tests.support import tools
from tests.support.database import reseed
from tests.support.http import BODY_BYTES, ask, raw_exchange
from tests.support.lists import PATHS
from tests.support.server import Serve, Server

hypothesis = tools.package("hypothesis")
st = tools.package("hypothesis.strategies")

ALLOWED = "https://a.example"
GENERATED_ID = re.compile(rb"X-Request-ID: [0-9a-f]{32}\r\n")
DATE = re.compile(rb"Date: [^\r]*\r\n")


class Pair(NamedTuple):
    """A server with the fast path, and one without it."""

    fast: Server
    slow: Server


@pytest.fixture(scope="module")
def pair(serve_module: Serve, database_url: str) -> Pair:
    environ = {"DATABASE_URL": database_url, "APP_ENV": "development"}
    reseed(create_app(environ))
    settings = {
        "WEB_CONCURRENCY": "1",
        "CORS_ORIGINS": f"{ALLOWED},http://localhost:8000",
    }
    slow = 'gunicorn "tests.support.without_fast_path:create()"'
    return Pair(serve_module(**settings), serve_module(slow, **settings))


def exchange(server: Server, request: bytes) -> bytes:
    """Send a request; return all bytes until the end, without the date and a generated id."""
    received = raw_exchange(server, request, ends=True)
    return DATE.sub(b"", GENERATED_ID.sub(b"X-Request-ID: generated\r\n", received))


def compare(pair: Pair, request: bytes, cached: str | None = PATHS[0]) -> bytes:
    """Check that both servers send the same bytes; return them.

    The response to a GET of the path `cached` is in the cache of the fast path.
    """
    if cached:
        ask(pair.fast, "GET", cached)
    fast, slow = exchange(pair.fast, request), exchange(pair.slow, request)
    assert fast == slow
    return fast


def ask_for(start: str, *lines: str, body: bytes = b"") -> bytes:
    return (
        "\r\n".join([f"{start} HTTP/1.1", "Host: localhost:8001", *lines, "", ""]).encode("latin-1")
        + body
    )


def get(path: str, *lines: str) -> bytes:
    return ask_for(f"GET {path}", *lines)


def put(path: str, *lines: str, body: bytes = BODY_BYTES) -> bytes:
    given = [*lines, "Content-Type: application/json", f"Content-Length: {len(body)}"]
    return ask_for(f"PUT {path}", *given, body=body)


HEADERS = {
    "Accept-Encoding": ["gzip, deflate, br, zstd", "gzip;q=0", "identity", "", "x" * 600],
    "Origin": [ALLOWED, "http://localhost:8000", "https://evil.example", "null", ""],
    "X-Forwarded-Proto": ["https", "http", "HTTPS", "https, http"],
    "X-Request-ID": ["client-1", "", "not valid", "x" * 200],
    "X-Forwarded-For": ["203.0.113.9", "a, b", "at=ERROR \xe9"],
    "Connection": ["keep-alive", "Keep-Alive", "close", "upgrade", ""],
    "Cookie": ["_ga=1; session=\xff"],
    "Content-Type": ["application/json"],
    "Content-Length": ["0", "1"],
    "X_Request_ID": ["underscore"],
}


def headers_for(pair: Pair, path: str) -> dict[str, list[str]]:
    """Return headers of a GET with their values, also with the entity tag of this path."""
    etag = ask(pair.slow, "GET", path).headers["ETag"] or '"none"'
    return {**HEADERS, "If-None-Match": [etag, etag[2:], "*", '"x"', f'"x", {etag}', ""]}


@pytest.mark.parametrize(
    ("path", "cached"),
    [
        *((path, path) for path in PATHS),
        *((path, PATHS[0]) for path in (f"{PATHS[0]}/", f"{PATHS[0]}?x=1", "/api/%64ays")),
        ("/", None),
    ],
)
def test_every_header_gets_the_same_bytes(pair: Pair, path: str, cached: str | None) -> None:
    response = compare(pair, get(path), cached)
    assert response.startswith(b"HTTP/1.1 200 OK\r\n" if cached else b"HTTP/1.1 404 ")
    for name, values in headers_for(pair, path).items():
        for value in values:
            line = f"{name}: {value}"
            compare(pair, get(path, line), cached)
            compare(pair, get(path, line, line), cached)


@pytest.mark.parametrize(("path", "cached"), [(PATHS[0], PATHS[0]), ("/", None)])
def test_every_pair_of_headers_gets_the_same_bytes(
    pair: Pair, path: str, cached: str | None
) -> None:
    some = [(name, values[0]) for name, values in headers_for(pair, path).items()]
    for (one, first), (other, second) in itertools.combinations(some, 2):
        compare(pair, get(path, f"{one}: {first}", f"{other.lower()}:{second}"), cached)


# Appointment 1 is booked, and appointment 2 is free: these requests change neither, so that
# both servers find the same.
WRITES = {
    "a booking": put("/api/appointments/1"),
    "a booking on a condition": put("/api/appointments/1", "If-Match: *"),
    "a booking of a booked appointment": put("/api/appointments/1", "If-None-Match: *"),
    "a booking with a query": put("/api/appointments/1/?x=%20[1]"),
    "a body that is not JSON": put("/api/appointments/1", body=b"{"),
    "a body that is not UTF-8": put("/api/appointments/1", body=b"\xff"),
    "an invalid booking": put("/api/appointments/1", body=b'{"interview":{}}'),
    "an empty body": put("/api/appointments/1", body=b""),
    "no body": ask_for("PUT /api/appointments/1", "Content-Type: application/json"),
    "another type": ask_for("PUT /api/appointments/1", "Content-Length: 2", body=b"{}"),
    "a coding": put("/api/appointments/1", "Content-Encoding: gzip"),
    "an unknown appointment": put("/api/appointments/99999"),
    "no appointment": put("/api/appointments/%00%ff"),
    "a wrong method": put("/api/days"),
    "an unknown path": put("/nowhere"),
    "slashes": put("//api/appointments/1"),
    "an origin": put("/api/appointments/1", f"Origin: {ALLOWED}", "X-Forwarded-Proto: https"),
    "another origin": put("/api/appointments/1", "Origin: https://evil.example"),
    "an id": put("/api/appointments/1", "X-Request-ID: client-1"),
    "a request after the body": put("/api/appointments/1") + get("/api/days"),
    "half a request after the body": put("/api/appointments/1") + b"GET /api",
    "a body that is cut": put("/api/appointments/1")[:-1],
    "a length of many digits": ask_for(
        "PUT /api/appointments/1", f"Content-Length: {'0' * 5000}2", body=b"{}"
    ),
    "a length with a sign": ask_for("PUT /api/appointments/1", "Content-Length: +2", body=b"{}"),
    "a length with blanks": ask_for(
        "PUT /api/appointments/1", "Content-Length: \t2 \t", body=b"{}"
    ),
    "a length with an underscore": ask_for(
        "PUT /api/appointments/1", "Content-Length: 1_0", body=BODY_BYTES
    ),
    "a list of lengths": ask_for("PUT /api/appointments/1", "Content-Length: 2, 2", body=b"{}"),
    "two types": put("/api/appointments/1", "Content-Type: text/plain"),
    "a length and chunks": put("/api/appointments/1", "Transfer-Encoding: chunked"),
    "a cancellation": ask_for("DELETE /api/appointments/2"),
    "a cancellation on a condition": ask_for("DELETE /api/appointments/2", "If-Match: *"),
    "a cancellation with a body": ask_for(
        "DELETE /api/appointments/2", "Content-Length: 3", body=b"abc"
    ),
}


@pytest.mark.parametrize("name", WRITES)
def test_every_write_gets_the_same_bytes(pair: Pair, name: str) -> None:
    assert compare(pair, WRITES[name], cached=None).startswith(b"HTTP/1.1 ")


@pytest.mark.parametrize("start", ["PUT /api/appointments/1", "DELETE /api/appointments/2"])
def test_every_header_of_a_write_gets_the_same_bytes(pair: Pair, start: str) -> None:
    for name, values in HEADERS.items():
        for value in values:
            lines = [f"{name}: {value}"]
            if name != "Content-Length":
                lines.append(f"Content-Length: {len(BODY_BYTES)}")
            if name != "Content-Type":
                lines.append("Content-Type: application/json")
            compare(pair, ask_for(start, *lines, body=BODY_BYTES), cached=None)
            compare(pair, ask_for(start, *lines, lines[0], body=BODY_BYTES), cached=None)


UNUSUAL = {
    "no host": b"GET /api/days HTTP/1.1\r\n\r\n",
    "two hosts": get("/api/days", "Host: other"),
    "bare line feeds": get("/api/days").replace(b"\r\n", b"\n"),
    "a bare line feed": get("/api/days", "A: 1\nB: 2"),
    "a bare carriage return": get("/api/days", "A: 1\rB: 2"),
    "a folded header": get("/api/days", "A: 1", " 2"),
    "a folded host": get("/api/days", "\tx"),
    "a space before the colon": get("/api/days", "A : 1"),
    "no colon": get("/api/days", "A"),
    "no name": get("/api/days", ": 1"),
    "a NUL": get("/api/days", "A: \0"),
    "DEL": get("/api/days", "A: \x7f"),
    "a name beyond ASCII": get("/api/days", "\xe9: 1"),
    "HTTP/1.0": get("/api/days").replace(b"HTTP/1.1", b"HTTP/1.0"),
    "HTTP/1.2": get("/api/days").replace(b"HTTP/1.1", b"HTTP/1.2"),
    "lower case": get("/api/days").replace(b"GET", b"get"),
    "absolute form": get("http://localhost/api/days"),
    "an empty line first": b"\r\n" + get("/api/days"),
    "two requests": get("/api/days") * 2,
    "two and a half": get("/api/days") * 2 + b"GET /api",
    "half a request": get("/api/days")[:-7],
    "a body": get("/api/days", "Content-Length: 3") + b"abc",
    "chunks": get("/api/days", "Transfer-Encoding: chunked") + b"1\r\na\r\n0\r\n\r\n",
    "smuggled chunks": get("/api/days", "Transfer-Encoding: \x0bchunked") + b"0\r\n\r\n",
    "lengths that differ": get("/api/days", "Content-Length: 0", "Content-Length: 1"),
    "a body that is not announced": get("/api/days") + b"abc",
    "an expectation": get("/api/days", "Expect: 100-continue"),
    "an upgrade": get("/api/days", "Connection: upgrade", "Upgrade: h2c", "HTTP2-Settings: x"),
    "101 headers": get("/api/days", *(f"A{n}: 1" for n in range(101))),
    "a long header": get("/api/days", "A: " + "x" * 8190),
    "a head of 60 kB": get("/api/days", *(f"A{n}: " + "x" * 6000 for n in range(10))),
}


@pytest.mark.parametrize("name", UNUSUAL)
def test_what_parsers_may_read_differently_gets_the_same_bytes(pair: Pair, name: str) -> None:
    compare(pair, UNUSUAL[name])


PIECES = [
    *(b"\r\n", b"\n", b"\r", b" ", b"\t", b":", b"\0", b"_", b",", b"GET ", b" HTTP/1.1"),
    *(b"Host: x\r\n", b"Content-Length: 1\r\n", b"Transfer-Encoding: chunked\r\n", b"\r\n\r\n"),
    *(b"Connection: close\r\n", b"If-None-Match: *\r\n", b"\xff", b"\x7f", b"?", b"/", b"%"),
]
USUAL = get(
    "/api/days",
    *("Connection: keep-alive", "User-Agent: Mozilla/5.0 (X11; Linux x86_64)", "Accept: */*"),
    *("Accept-Encoding: gzip, deflate, br", "Accept-Language: en-US,en;q=0.9"),
    *(f"Origin: {ALLOWED}", "Referer: https://a.example/", 'sec-ch-ua: "Chromium";v="131"'),
)


USUAL_WRITE = put(
    "/api/appointments/1",
    *("Connection: keep-alive", "Accept: */*", f"Origin: {ALLOWED}", "X-Request-ID: client-1"),
)


def mutated(request: bytes, changes: list[tuple[int, int, bytes]]) -> bytes:
    """Replace bytes of a request. A change is a place, a length and the bytes that go there."""
    for place, length, piece in changes:
        start = place % len(request)
        request = request[:start] + piece + request[start + length :]
    return request


CHANGES = st.lists(
    st.tuples(
        st.integers(0, 10_000), st.integers(0, 3), st.sampled_from(PIECES) | st.binary(max_size=2)
    ),
    min_size=1,
    max_size=3,
)


def check_mutations(pair: Pair, count: int) -> None:
    def check(request: bytes, changes: list[tuple[int, int, bytes]]) -> None:
        compare(pair, mutated(request, changes))

    settings = hypothesis.settings(
        max_examples=count, deadline=None, derandomize=True, database=None
    )
    requests = st.sampled_from([USUAL, USUAL_WRITE])
    settings(hypothesis.given(requests, CHANGES)(check))()


def test_mutated_requests_get_the_same_bytes(pair: Pair) -> None:
    check_mutations(pair, 250)


@pytest.mark.slow
def test_many_mutated_requests_get_the_same_bytes(pair: Pair) -> None:
    check_mutations(pair, 10_000)


def test_what_browsers_send_is_plain() -> None:
    parser = PlainRequestParser()
    for path in [*PATHS, f"{PATHS[0]}/"]:
        assert parser.parse(USUAL.replace(b"/api/days", path.encode()))
    request = parser.parse(USUAL_WRITE + USUAL)
    assert request
    assert (request.body, request.end) == (BODY_BYTES, len(USUAL_WRITE))
    assert not parser.parse(USUAL_WRITE[:-1])


def test_the_scheme_of_a_trusted_proxy_counts(client: Any, app: Any) -> None:
    client.get(PATHS[0])

    def respond(*, is_proxy_trusted: bool) -> RenderedResponse:
        fast_path = FastPath(app, Config())
        request = fast_path.parse(get(PATHS[0], "X-Forwarded-Proto: https"))
        assert request
        return fast_path.respond(request, "127.0.0.1", is_proxy_trusted=is_proxy_trusted)

    assert b"Strict-Transport-Security" in respond(is_proxy_trusted=True).head
    assert b"Strict-Transport-Security" not in respond(is_proxy_trusted=False).head


# These are complete and unambiguous, so the fast path takes them.
PLAIN_AFTER_ALL = {"two requests", "two and a half", "a body", "a body that is not announced"}


@pytest.mark.parametrize("name", UNUSUAL)
def test_only_complete_and_unambiguous_requests_are_plain(name: str) -> None:
    parser = PlainRequestParser()
    assert parser.parse(USUAL)
    assert bool(parser.parse(UNUSUAL[name])) == (name in PLAIN_AFTER_ALL)
    # After half a request, the parser starts anew.
    assert parser.parse(USUAL)


def test_a_connection_stays_open_after_requests_that_gunicorn_serves(pair: Pair) -> None:
    """Plain requests alternate with three that gunicorn serves: a 404, a body, chunks."""
    with socket.create_connection(("127.0.0.1", pair.fast.port), timeout=10) as connection:
        file = connection.makefile("rb")
        for request in (
            get("/nowhere", "TE: trailers"),
            ask_for("DELETE /api/appointments/1", "TE: trailers", "Content-Length: 3", body=b"abc"),
            ask_for("PUT /nowhere", "Transfer-Encoding: chunked", body=b"3\r\nabc\r\n0\r\n\r\n"),
        ):
            assert not PlainRequestParser().parse(request)
            for sent in (request, USUAL):
                connection.sendall(sent)
                assert file.readline().startswith(b"HTTP/1.1 ")
                length = 0
                while (line := file.readline()) != b"\r\n":
                    if line.lower().startswith(b"content-length:"):
                        length = int(line.split(b":")[1])
                    assert line != b"Connection: close\r\n"
                file.read(length)
