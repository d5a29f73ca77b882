"""Serves a request with gunicorn's parser and response.

This path is for every request that the fast path declines: one with chunks, one whose
body has not arrived yet, a WebSocket handshake, and a malformed one.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from gunicorn.http import errors
from gunicorn.http.message import Request

from app.server import sending
from app.server.request_body import MAX_CONTENT_LENGTH, RequestBody, RequestReader

if TYPE_CHECKING:
    from app.server.worker import Worker


def serve(
    received: bytes,
    *,
    worker: Worker,
    listener_name: Any,
    client: Any,
    address: Any,
    take_turn: Callable[[], None],
) -> bytes | None:
    """Serve the first request in `received`. Returns the bytes after it.

    Returns None if the connection must be closed. `take_turn` makes a request with chunks
    wait for others of its kind. Raises `OSError` if the connection breaks, and gunicorn's
    exceptions for a request that is refused.
    """
    client.settimeout(sending.SEND_TIMEOUT)
    reader = RequestReader(client, received)
    request = Request(worker.cfg, reader, address)
    _check(request)
    if any(name == "TRANSFER-ENCODING" for name, _ in request.headers):
        # Chunks of one byte take a thousand times as long as the same bytes in one chunk.
        reader.take_turn = take_turn
        take_turn()
    request.proxy_protocol_info = {}
    request.body = body = RequestBody(request.body, reader)
    is_kept = True
    try:
        with sending.aborting_if_not_read():
            worker.handle_request(listener_name, request, client, address)
    except StopIteration:
        is_kept = False
    if not body.drain():
        sending.linger(client)
        is_kept = False
    if not is_kept:
        return None
    client.settimeout(None)
    return bytes(reader.take_buffered())


def _check(request: Any) -> None:
    """Refuse invalid requests that gunicorn accepts."""
    names = {name for name, _ in request.headers}
    if request.version >= (1, 1) and "HOST" not in names:
        # RFC 9112, section 3.2.
        raise errors.InvalidHeader("HOST", req=request)
    for name, value in request.headers:
        if name == "TRANSFER-ENCODING" and value.lower() != "chunked":
            # gunicorn would not decompress the body.
            raise errors.UnsupportedTransferCoding(value)
        if name == "CONTENT-LENGTH" and int(value) > MAX_CONTENT_LENGTH:
            # Such a body is not read, so no request can follow it.
            request.force_close()
