"""One line in the log for each request, which no request can forge."""

from __future__ import annotations

import re

import pytest

from tests.support.http import ask, raw_get, send_bytes
from tests.support.server import Server
from tests.support.waiting import wait_for


def lines_of(server: Server, request_id: str) -> list[str]:
    """Wait until the log names a request; return all lines that do."""
    wait_for(lambda: f"request_id={request_id}" in server.log)
    return [line for line in server.log.splitlines() if request_id in line]


@pytest.mark.parametrize(
    ("path", "status"), [("/api/days", 200), ("/nowhere", 404), ("/api/appointments/1", 405)]
)
def test_the_request_id_is_in_the_log_line(server: Server, path: str, status: int) -> None:
    given = f"given-{status}"
    send_bytes(server, raw_get(b"X-Request-ID: " + given.encode(), path=path.encode()))
    (line,) = lines_of(server, given)
    assert {f"path={path}", f"status={status}", "method=GET"} <= set(line.split())
    headers = send_bytes(server, raw_get(path=path.encode())).headers
    (line,) = lines_of(server, headers["X-Request-ID"])
    assert {f"path={path}", f"status={status}", "method=GET"} <= set(line.split())


def test_the_client_is_the_rightmost_entry_of_forwarded_for(server: Server) -> None:
    forwarded = {"X-Forwarded-For": "10.0.0.1, 203.0.113.7"}
    for headers, client in ((forwarded, "203.0.113.7"), ({}, "127.0.0.1")):
        request_id = ask(server, "GET", "/nowhere", headers=headers).headers["X-Request-ID"]
        (line,) = lines_of(server, request_id)
        assert f"client={client}" in line.split()


def forged(separator: bytes = b" ") -> bytes:
    """Return text that looks like the beginning of another line in the log."""
    return separator.join([b"at=INFO", b"msg=forged", b"status=299"])


HOSTILE = {
    "id with blanks": raw_get(b"X-Request-ID: x " + forged()),
    "id with a quote": raw_get(b'X-Request-ID: x" ' + forged()),
    "id with a line break": raw_get(b"X-Request-ID: x\n" + forged()),
    "id with a folded line": raw_get(b"X-Request-ID: x", b" " + forged()),
    "id with a carriage return": raw_get(b"X-Request-ID: x\r" + forged()),
    "id with a form feed": raw_get(b"X-Request-ID: x\x0c" + forged()),
    "id with a next line": raw_get(b"X-Request-ID: x\xc2\x85" + forged()),
    "id with a line separator": raw_get(b"X-Request-ID: x\xe2\x80\xa8" + forged()),
    "path escaped": raw_get(path=b"/x%0a" + forged(b"%20")),
    "path with a quote": raw_get(path=b'/x"' + forged(b'"')),
    "path with a blank": raw_get(path=b"/x " + forged()),
    "path with a tab": raw_get(path=b"/x\t" + forged(b"\t")),
    "path with a form feed": raw_get(path=b"/x\x0c" + forged(b"\x0c")),
    "path with a vertical tab": raw_get(path=b"/x\x0b" + forged(b"\x0b")),
    "path with a carriage return": raw_get(path=b"/x\r" + forged(b"\x0b")),
    "path with a next line": raw_get(path=b"/x\x85" + forged(b"\xc2\x85")),
    "path with a line separator": raw_get(path=b"/x\xe2\x80\xa8" + forged(b"\xe2\x80\xa8")),
    "path with an escape": raw_get(path=b"/x\x1b[2K" + forged(b"\x1b")),
    "path with a NUL": raw_get(path=b"/x\0" + forged(b"\0")),
    "query": raw_get(path=b"/x?a=" + forged(b"%0a")),
    "fragment": raw_get(path=b"/x#\x0b" + forged(b"\x0b")),
    "method": b"GET\x0b" + forged(b"\x0b") + b" / HTTP/1.1\r\nHost: x\r\n\r\n",
    "version": b"GET / HTTP/1.1\x0b" + forged(b"\x0b") + b"\r\nHost: x\r\n\r\n",
    "header's name": raw_get(b"x " + forged() + b": x"),
    "forwarded for": raw_get(b"X-Forwarded-For: 10.0.0.1 " + forged()),
    "forwarded for with a next line": raw_get(b"X-Forwarded-For: 10.0.0.1\xc2\x85" + forged()),
    "user agent": raw_get(b'User-Agent: "\x0b' + forged()),
    "appointment": raw_get(path=b"/api/appointments/1%0a" + forged(b"%20")),
}


@pytest.mark.parametrize(
    "request_", [pytest.param(text, id=name) for name, text in HOSTILE.items()]
)
def test_a_hostile_request_cannot_forge_a_line(
    server: Server, request: pytest.FixtureRequest, request_: bytes
) -> None:
    mark = re.sub(r"\W", "-", request.node.name)
    before = server.log
    send_bytes(server, request_)
    send_bytes(server, raw_get(b"X-Request-ID: " + mark.encode(), path=b"/after"))

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
