"""A raw HTTP client: one request on a connection of its own, so that any worker may get it."""

from __future__ import annotations

import http.client
import json
import time
from collections.abc import Mapping
from contextlib import closing
from typing import Any, NamedTuple

from tests.support.server import Server


class Response(NamedTuple):
    """A response, and the seconds it took."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    seconds: float

    @property
    def json(self) -> Any:
        return json.loads(self.body)


def ask(
    server: Server | int,
    method: str,
    path: str,
    body: Any = None,
    headers: Mapping[str, str] | None = None,
) -> Response:
    """Send a request, to a server or to a port, and return the response.

    A body that is not bytes is sent as JSON. The names of the response's headers are
    in title case.
    """
    port = server if isinstance(server, int) else server.port
    started = time.monotonic()
    given = {"Content-Type": "application/json"} if body is not None else {}
    data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=30)) as connection:
        connection.request(method, path, data, {**given, **(headers or {})})
        response = connection.getresponse()
        content = response.read()
    names = {name.title(): value for name, value in response.getheaders()}
    return Response(response.status, names, content, time.monotonic() - started)


def booking(student: str, interviewer: int = 1) -> dict[str, Any]:
    """Return the body of a booking."""
    return {"interview": {"student": student, "interviewer": interviewer}}
