"""Serves a request with gunicorn's parser and response.

It serves the requests that the fast path declines: methods other than GET, PUT and DELETE,
chunked or incomplete bodies, WebSocket handshakes, unusual or malformed heads. While the
worker stops, or if `keepalive` is 0, it serves all requests.
"""

from __future__ import annotations

import ipaddress
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from gunicorn.glogging import Logger as GunicornLogger
from gunicorn.http import errors
from gunicorn.http.message import Request

from app.http import json_body
from app.logs import request_log
from app.server import sending
from app.server.request_body import RequestBody, RequestReader

if TYPE_CHECKING:
    from app.server.client_connection import ClientConnection


class Logger(GunicornLogger):  # type: ignore[misc]
    """gunicorn's logger, with the project's own line for each request."""

    def access(self, resp: Any, req: Any, environ: Any, request_time: timedelta) -> None:
        """Log a request."""
        request_log.write(
            method=environ["REQUEST_METHOD"],
            target=environ["RAW_URI"],
            status=resp.status_code,
            length=resp.sent,
            seconds=request_time.total_seconds(),
            client=request_log.client_address(
                environ.get("HTTP_X_FORWARDED_FOR"), environ.get("REMOTE_ADDR", "")
            ),
            request_id=environ.get("HTTP_X_REQUEST_ID", ""),
        )


def serve(connection: ClientConnection, received: bytes) -> bytes | None:
    """Serve the first request in `received`. Returns the bytes after it.

    Returns None if the connection must be closed. Raises `OSError` if it breaks, and
    gunicorn's exceptions for a request that is refused.
    """
    worker, client, address = connection.worker, connection.client, connection.address
    client.settimeout(sending.SEND_TIMEOUT)
    reader = RequestReader(client, received)
    request = Request(worker.cfg, reader, address)
    _check(request)
    if any(name == "TRANSFER-ENCODING" for name, _ in request.headers):
        # Chunks of one byte take a thousand times as long as the same bytes in one chunk.
        reader.take_turn = connection.take_turn
        connection.take_turn()
    request.body = body = RequestBody(request.body, reader)
    stays_open = True
    try:
        with sending.aborting_if_not_read():
            worker.handle_request(connection.bound_address, request, client, address)
    except StopIteration:
        stays_open = False
    if not body.drain():
        sending.linger(client)
        stays_open = False
    if not stays_open:
        return None
    client.settimeout(None)
    return bytes(reader.take_buffered())


def _check(request: Any) -> None:
    """Refuse invalid requests that gunicorn accepts; do not keep connections with huge bodies."""
    names = {name for name, _ in request.headers}
    if request.version >= (1, 1) and "HOST" not in names:
        # RFC 9112, section 3.2.
        raise errors.InvalidHeader("HOST", req=request)
    for name, value in request.headers:
        if name == "TRANSFER-ENCODING" and value.lower() != "chunked":
            # gunicorn would not decompress the body.
            raise errors.UnsupportedTransferCoding(value)
        if name == "CONTENT-LENGTH" and int(value) > json_body.MAX_BYTES:
            # The application refuses such a body unread. Reading all of it could take too long.
            request.force_close()


def is_proxy_trusted(cfg: Any, address: Any) -> bool:
    """Return whether gunicorn trusts the `X-Forwarded-Proto` of a peer."""
    if not isinstance(address, tuple) or "*" in cfg.forwarded_allow_ips:
        return True
    peer = ipaddress.ip_address(address[0])
    return any(peer in network for network in cfg.forwarded_allow_networks())
