"""Sends problem responses to requests that do not reach the application."""

from __future__ import annotations

import contextlib
import logging
import socket
import time
from collections.abc import Collection
from typing import Any

import gevent
from gunicorn.http import errors

from app.http import response_headers
from app.http.errors import phrase, problem_json
from app.server.request_body import SEND_TIMEOUT

log = logging.getLogger(__name__)

# Bytes and seconds of a request that are read after an early response. Closing a connection
# with unread bytes could destroy the response (RFC 9112, section 9.6).
LINGER_BYTES = 10 * 1024 * 1024
LINGER_TIMEOUT = 2.0

REFUSALS: dict[type[Exception], tuple[int, str]] = {
    errors.LimitRequestLine: (414, "The request line is too long."),
    errors.LimitRequestHeaders: (431, "The headers are too large."),
    errors.ExpectationFailed: (417, "The only supported expectation is 100-continue."),
    errors.UnsupportedTransferCoding: (501, "The only supported transfer coding is chunked."),
    errors.ForbiddenProxyRequest: (403, "This proxy is not allowed."),
    TimeoutError: (408, "The request did not arrive in time."),
}


def refuse(client: Any, error: BaseException, origins: Collection[str]) -> None:
    """Send the response to a request that could not be parsed or served."""
    request_id = response_headers.request_id(None)
    if isinstance(error, errors.ParseException | TimeoutError):
        status, detail = REFUSALS.get(type(error), (400, "This is not a valid HTTP/1.1 request."))
        log.warning(
            "request refused",
            extra={"status": status, "error": str(error)[:200], "request_id": request_id},
        )
    else:
        status, detail = 500, "An unexpected error occurred. It has been logged."
        log.error("unexpected error", exc_info=error, extra={"request_id": request_id})
    body = problem_json(status, detail)
    headers = [
        ("Content-Type", "application/problem+json"),
        ("Content-Length", str(len(body))),
        ("Connection", "close"),
    ]
    # The `Origin` of a malformed request is not trusted.
    completed = response_headers.complete(headers, "http", None, origins)
    lines = [
        f"HTTP/1.1 {status} {phrase(status)}",
        *(f"{name}: {value}" for name, value in completed),
        f"X-Request-ID: {request_id}",
    ]
    with contextlib.suppress(OSError):
        client.settimeout(SEND_TIMEOUT)
        client.sendall("\r\n".join(lines).encode("ascii") + b"\r\n\r\n" + body)
        linger(client)


def linger(client: Any) -> None:
    """Read the rest of a request, so that the client can read the response."""
    deadline = time.monotonic() + LINGER_TIMEOUT
    read = 0
    with contextlib.suppress(OSError):
        client.shutdown(socket.SHUT_WR)
        while read < LINGER_BYTES and (remaining := deadline - time.monotonic()) > 0:
            client.settimeout(remaining)
            data = client.recv(65536)
            if not data:
                break
            read += len(data)
            gevent.sleep(0)
