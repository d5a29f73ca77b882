"""The security headers and the request's id."""

from __future__ import annotations

import re
from typing import Any

import pytest
from flask.testing import FlaskClient

from tests.support.http import raw_get, send_bytes
from tests.support.server import Server
from tests.support.statuses import each_request, send_each


@each_request
def test_every_response_forbids_content_sniffing(open_client: FlaskClient, request_: Any) -> None:
    headers = send_each(open_client, request_).headers
    assert headers.getlist("X-Content-Type-Options") == ["nosniff"]


@each_request
def test_strict_transport_security_is_sent_over_https_only(
    open_client: FlaskClient, request_: Any
) -> None:
    assert "Strict-Transport-Security" not in send_each(open_client, request_).headers
    method, path, given, status = request_
    over_https = (method, path, {**given, "base_url": "https://localhost"}, status)
    (value,) = send_each(open_client, over_https).headers.getlist("Strict-Transport-Security")
    assert re.fullmatch(r"max-age=[1-9][0-9]{6,}(; includeSubDomains)?", value)


@each_request
def test_a_request_id_is_echoed(open_client: FlaskClient, request_: Any) -> None:
    given = "0f8b3c1e-7d52-4b7a-9f1e-3f1c5a1b2c3d"
    headers = send_each(open_client, request_, X_Request_ID=given).headers
    assert headers.getlist("X-Request-ID") == [given]


@each_request
def test_a_missing_request_id_is_generated(open_client: FlaskClient, request_: Any) -> None:
    ids = {send_each(open_client, request_).headers["X-Request-ID"] for _ in range(3)}
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
def test_a_malformed_request_id_is_replaced(open_client: FlaskClient, malformed: str) -> None:
    # As the server passes it: the test client refuses to send some of these.
    environ = {"HTTP_X_REQUEST_ID": malformed}
    headers = open_client.get("/nowhere", environ_overrides=environ).headers
    assert re.fullmatch(r"[A-Za-z0-9-]{16,64}", headers["X-Request-ID"])


def test_the_proxy_decides_whether_a_request_is_https(server: Server) -> None:
    for path in (b"/api/days", b"/nowhere"):
        headers = send_bytes(server, raw_get(b"X-Forwarded-Proto: https", path=path)).headers
        assert headers["Strict-Transport-Security"]
        for line in (b"X-Forwarded-Proto: http", b"X-Forwarded-Proto: ftp", b"X: https"):
            headers = send_bytes(server, raw_get(line, path=path)).headers
            assert "Strict-Transport-Security" not in headers


@pytest.mark.parametrize(
    "request_",
    [
        pytest.param(raw_get(), id="200"),
        pytest.param(raw_get(path=b"/nowhere"), id="404"),
        pytest.param(b"POST /api/days HTTP/1.1\r\nHost: x\r\n\r\n", id="405"),
        pytest.param(b"hello\r\n\r\n", id="400"),
        pytest.param(raw_get(b"X: " + b"x" * 20_000), id="431"),
    ],
)
def test_no_header_names_a_version(server: Server, request_: bytes) -> None:
    headers = send_bytes(server, request_).headers
    assert "X-Powered-By" not in headers
    for name in ("Server", "Via"):
        assert not re.search(r"[0-9/]", headers.get(name, ""))
    everything = str(headers).lower()
    for software in ("python", "werkzeug", "flask", "gevent", "psycopg", "postgresql"):
        assert software not in everything
