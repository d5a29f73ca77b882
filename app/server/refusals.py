"""Sends an error response if the server cannot parse or serve a request."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Collection
from typing import Any

from gunicorn.http import errors

from app.http import response_headers
from app.http.errors import phrase, problem_json
from app.server.sending import SEND_TIMEOUT, linger

log = logging.getLogger(__name__)

REFUSALS: dict[type[Exception], tuple[int, str]] = {
    errors.LimitRequestLine: (414, "The request line is too long."),
    errors.LimitRequestHeaders: (431, "The headers are too large."),
    errors.ExpectationFailed: (417, "The only supported expectation is 100-continue."),
    errors.UnsupportedTransferCoding: (501, "The only supported transfer coding is chunked."),
    errors.ForbiddenProxyRequest: (403, "This proxy is not allowed."),
    TimeoutError: (408, "The request did not arrive in time."),
}


def refuse(client: Any, peer: str, error: BaseException, origins: Collection[str]) -> None:
    """Send the response to a request that could not be parsed or served.

    `peer` is the client's address, for the log.
    """
    request_id = response_headers.request_id(None)
    if isinstance(error, errors.ParseException | TimeoutError):
        status, detail = REFUSALS.get(type(error), (400, "This is not a valid HTTP/1.1 request."))
        log.warning(
            "request refused",
            extra={
                "status": status,
                "error": str(error)[:200],
                "client": peer,
                "request_id": request_id,
            },
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
