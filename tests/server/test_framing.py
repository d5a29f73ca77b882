"""The bytes of a response: complete, and framed as HTTP requires."""

from __future__ import annotations

import http.client
from contextlib import closing
from pathlib import Path

import pytest

from tests.support import odd_views, tools
from tests.support.http import ask, raw_exchange
from tests.support.server import Serve, Server, accepts, free_port
from tests.support.waiting import wait_for

FILE = Path(odd_views.__file__).read_bytes()


@pytest.fixture(scope="module")
def server(tables: None, serve_module: Serve) -> Server:
    return serve_module('gunicorn "tests.support.odd_views:create()"', WEB_CONCURRENCY="1")


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/streamed", b"one,two,three"),
        ("/file", FILE),
        ("/from-memory", b"m" * 300_000),
    ],
)
def test_a_view_may_stream_or_send_a_file(server: Server, path: str, body: bytes) -> None:
    with closing(http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)) as connection:
        for method, expected in [("POST", body), ("GET", body), ("HEAD", b""), ("POST", body)]:
            connection.request(method, path)
            response = connection.getresponse()
            assert (response.status, response.read()) == (200, expected)


def test_a_response_header_is_checked_each_time(server: Server) -> None:
    for _ in range(6):
        assert ask(server, "GET", "/vary/a%01b").status >= 400
        assert ask(server, "GET", "/vary/%20Cookie%20").headers["Vary"] == "Cookie"
        assert ask(server, "GET", "/vary/Accept").headers["Vary"] == "Accept"


def test_a_stream_is_chunked_in_http_1_1_and_ends_with_the_connection_in_1_0(
    server: Server,
) -> None:
    head, _, body = raw_exchange(
        server, b"POST /streamed HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    ).partition(b"\r\n\r\n")
    assert b"Transfer-Encoding: chunked" in head
    assert body == b"4\r\none,\r\n4\r\ntwo,\r\n5\r\nthree\r\n0\r\n\r\n"
    head, _, body = raw_exchange(server, b"POST /streamed HTTP/1.0\r\n\r\n").partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.0 200 ")
    assert b"Connection: close" in head
    assert b"chunked" not in head
    assert body == b"one,two,three"


def test_a_response_that_breaks_off_does_not_look_complete(server: Server) -> None:
    response = raw_exchange(server, b"POST /broken-off HTTP/1.1\r\nHost: x\r\n\r\n")
    assert response.count(b"HTTP/1.1") == 1
    assert response.endswith(b"4\r\none,\r\n")
    wait_for(lambda: "RuntimeError" in server.log)
    assert ask(server, "GET", "/api/days").status == 200


def test_a_full_log_fails_no_request(database_url: str) -> None:
    if not Path("/dev/full").exists():
        tools.skip("needs /dev/full")
    environ = {"DATABASE_URL": database_url, "APP_ENV": "test", "WEB_CONCURRENCY": "1"}
    server = Server({**environ, "PORT": str(free_port())}, Path("/dev/full"))
    try:
        wait_for(lambda: accepts(server.port))
        with closing(
            http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
        ) as connection:
            for _ in range(10):
                connection.request("GET", "/api/debug/reset")
                response = connection.getresponse()
                assert (response.status, response.read()) == (200, b"Database Reset")
                connection.request("GET", "/nowhere")
                assert connection.getresponse().read()
            # All on the same connection.
            assert connection.sock
    finally:
        server.stop()
