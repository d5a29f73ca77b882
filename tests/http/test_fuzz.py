"""No request gets a 5xx, a response that openapi.yaml does not describe, or a slow response.

schemathesis derives valid and invalid requests, alone and in sequences, from
docs/openapi.yaml, and checks each response against it. hypothesis generates what no
client library would send.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from flask import Flask

from tests.support import tools
from tests.support.database import connected
from tests.support.http import ask, raw_exchange
from tests.support.pace import is_within
from tests.support.project import ROOT
from tests.support.server import Serve, Server
from tests.support.threads import Threads
from tests.support.waiting import wait_for

hypothesis = tools.package("hypothesis")
st = tools.package("hypothesis.strategies")


@pytest.mark.parametrize(
    ("seeds", "examples"),
    [
        pytest.param(1, 8, id="short"),
        # Several short runs: schemathesis keeps every request, and garbage collection would
        # take seconds.
        pytest.param(12, 1200, id="long", marks=pytest.mark.slow),
    ],
)
def test_every_response_is_as_openapi_describes(
    app: Flask, serve: Serve, seeds: int, examples: int, tmp_path: Path
) -> None:
    tools.package("schemathesis")
    schemathesis = Path(sys.executable).with_name("schemathesis")
    server = serve()
    for seed in range(1, seeds + 1):
        run = subprocess.run(
            [
                schemathesis,
                *("--config-file", Path(__file__).with_name("schemathesis.toml")),
                *("run", ROOT / "docs" / "openapi.yaml", "--url", server.url),
                *("--checks", "all", "--max-response-time", "1"),
                *("--max-examples", str(examples), "--seed", str(seed), "--no-color"),
            ],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
        )
        assert run.returncode == 0, run.stdout + run.stderr
    assert "at=ERROR" not in server.log


# What hypothesis generates

JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=300),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=9), inner),
    max_leaves=8,
)
NO_STUDENT = JSON_VALUES.filter(lambda value: not isinstance(value, str)) | st.just(" ")
BAD_BOOKINGS = (
    JSON_VALUES.filter(lambda value: not isinstance(value, dict))
    | st.fixed_dictionaries({"interview": JSON_VALUES.filter(lambda it: not isinstance(it, dict))})
    | st.fixed_dictionaries(
        {"interview": st.fixed_dictionaries({"student": NO_STUDENT, "interviewer": JSON_VALUES})}
    )
)
BAD_BODIES = BAD_BOOKINGS.map(lambda value: json.dumps(value).encode()) | st.binary(
    max_size=99
).map(lambda text: b"\xff" + text)


def mostly(usual: Any) -> Any:
    """Return a strategy for one of these strings, and sometimes for any bytes."""
    return st.integers(0, 14).flatmap(
        lambda roll: st.binary(max_size=30) if roll == 0 else st.sampled_from(usual).map(str.encode)
    )


FIELDS = {
    "Accept-Encoding": ["gzip", "gzip;q=0", "*", "br"],
    "Access-Control-Request-Method": ["PUT", "DELETE"],
    "Connection": ["close", "keep-alive", "upgrade", "Content-Type"],
    "Content-Encoding": ["gzip", "identity"],
    "Content-Length": ["0", "3", "1000", "-1", "+5", "0x10", "3, 3"],
    "Content-Type": ["application/json", "application/json; charset=utf-16", "text/plain"],
    "Expect": ["100-continue"],
    "If-Match": ["*", '"x"', 'W/"x", *'],
    "If-None-Match": ["*", '"x"', 'W/"x", *'],
    "Origin": ["https://a.example", "null", ""],
    "Range": ["bytes=0-1", "bytes=-9"],
    "Transfer-Encoding": ["chunked", "gzip, chunked", "identity"],
    "X-Forwarded-For": ["10.0.0.1", "at=ERROR"],
    "X-Forwarded-Proto": ["https", "http"],
    "X-HTTP-Method-Override": ["PUT", "DELETE"],
    "X-Request-ID": ["a", "a b", "at=ERROR"],
}
FIELD = st.sampled_from(sorted(FIELDS)).flatmap(
    lambda name: st.tuples(mostly([name]), mostly(FIELDS[name]))
)
SMALL_BODIES = BAD_BODIES | st.binary(max_size=30)
FRAMED_BODIES = SMALL_BODIES | SMALL_BODIES.map(
    lambda body: b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)
)
APPOINTMENTS = ["/api/appointments/1", "/api/appointments/2/", "/api/appointments/x", "//api/days"]
LISTS = ["/api/days", "/api/appointments?x=%00", "/api/interviewers", "/", "*", "http://x/api/days"]
MESSAGES = st.builds(
    lambda method, target, version, fields, body: b"".join(
        [
            b"%b %b %b\r\nHost: x\r\n" % (method, target, version),
            *(b"%b: %b\r\n" % field for field in fields),
            b"\r\n",
            body,
        ]
    ),
    mostly(["GET", "HEAD", "PUT", "PUT", "DELETE", "OPTIONS", "POST"]),
    mostly(APPOINTMENTS + LISTS),
    mostly(["HTTP/1.1", "HTTP/1.0"]),
    st.lists(FIELD, max_size=4),
    FRAMED_BODIES,
)

each_budget = pytest.mark.parametrize(
    "examples",
    [pytest.param(120, id="short"), pytest.param(20_000, id="long", marks=pytest.mark.slow)],
)


def explore(test: Callable[..., None], examples: int, **strategies: Any) -> None:
    """Let hypothesis search for an input that fails a test; it tries the same each time."""
    settings = hypothesis.settings(
        max_examples=examples, deadline=None, derandomize=True, database=None
    )
    settings(hypothesis.given(**strategies)(test))()


@pytest.fixture(scope="module")
def server(tables: None, serve_module: Serve) -> Server:
    """A server of one worker with one connection to PostgreSQL."""
    return serve_module(WEB_CONCURRENCY="1", DB_POOL_SIZE="1")


@each_budget
def test_any_bytes_get_a_response_and_refused_requests_change_nothing(
    server: Server, examples: int
) -> None:
    def stored() -> bytes:
        return ask(server, "GET", "/api/appointments").body

    def check(message: bytes) -> None:
        before = stored()
        started = time.monotonic()
        response = raw_exchange(server, message, ends=True)
        assert is_within(time.monotonic() - started, 1)
        statuses = {int(status) for status in re.findall(rb"HTTP/1\.[01] (\d{3}) ", response)}
        # 501: RFC 9112, section 6.1, for a transfer coding that is not understood.
        assert all(status < 500 or status == 501 for status in statuses)
        if not any(200 <= status < 300 for status in statuses):
            assert stored() == before

    explore(check, examples, message=MESSAGES)
    assert not re.search("^at=ERROR", server.log, re.MULTILINE)


@each_budget
def test_a_bad_request_is_refused_at_once_if_no_connection_is_free(
    server: Server, database_url: str, examples: int
) -> None:
    def check(body: bytes, method: str, path: str) -> None:
        response = ask(
            server, "PUT", "/api/appointments/1", body, {"Content-Type": "application/json"}
        )
        assert response.status in {400, 422}
        assert is_within(response.seconds, 1)
        response = ask(server, method, path)
        assert response.status in {404, 405}
        assert is_within(response.seconds, 1)

    with connected(database_url) as sql, Threads() as waiting:
        sql("BEGIN")
        sql("LOCK TABLE appointments")
        for _ in range(4):
            waiting.repeat(ask, server, "GET", "/api/days")
        wait_for(lambda: sql("SELECT FROM pg_locks WHERE NOT granted"))
        explore(
            check,
            examples,
            body=BAD_BODIES,
            method=st.sampled_from(["PUT", "DELETE", "POST"]),
            path=st.text("abc-_.~", min_size=1).map("/api/appointments/{}".format),
        )
        wait_for(lambda: sql("SELECT FROM pg_locks WHERE NOT granted"))
        sql("ROLLBACK")
