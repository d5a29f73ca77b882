"""One connection: serves its requests one by one, on the fast path or with gunicorn."""

from __future__ import annotations

import contextlib
import ipaddress
import socket
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import gevent
from gunicorn.http import errors
from gunicorn.http.message import Request

from app import logs
from app.server.refusals import linger
from app.server.request_body import (
    MAX_CONTENT_LENGTH,
    READ_BYTES,
    SEND_TIMEOUT,
    RequestBody,
    RequestReader,
)
from app.server.request_head import END, receive_head

if TYPE_CHECKING:
    from app.server.worker import Worker

# Seconds between the first and the last byte of a request's head.
HEAD_TIMEOUT = 20.0
# Seconds that a connection may still wait for a request while the worker stops.
STOP_TIMEOUT = 0.5
# Responses to one connection before others get a turn.
RESPONSES_PER_TURN = 8
# Seconds that a pipelined request waits for those of other connections.
PIPELINING_TIMEOUT = 0.5
# A body up to this size is copied, to be sent together with its head. A larger one is not:
# each client that does not read would occupy memory for a copy.
COPIED_BYTES = 16 * 1024


class Connection:
    """A client's connection."""

    def __init__(self, worker: Worker, listener_name: Any, client: Any, address: Any) -> None:
        self._worker = worker
        self._listener_name = listener_name
        self._client = client
        self._address = address
        self._peer = str(address[0]) if isinstance(address, tuple) else str(address)
        self._is_proxy_trusted = _is_proxy_trusted(worker.cfg, address)
        self._served = 0
        self._has_begun = False
        self._is_expired = False
        # The end of the wait for a request (`time.monotonic()`).
        self.deadline = 0.0

    def serve(self) -> None:
        """Serve requests until the client or the server closes the connection.

        Raises `OSError` if the connection breaks, and gunicorn's exceptions for a request
        that is refused.
        """
        received = self._receive_head(b"")
        with contextlib.suppress(StopIteration):
            while received:
                received = self._serve_request(received)
                while END in received:
                    received = self._serve_pipelined_request(received)
                received = self._receive_head(received)

    def expire(self) -> None:
        """End the wait for a request. A request that has already arrived is served."""
        self._is_expired = True
        with contextlib.suppress(OSError):
            self._client.shutdown(socket.SHUT_RD)

    def _receive_head(self, received: bytes) -> bytes:
        self._has_begun = bool(received)
        self._wait_at_most(HEAD_TIMEOUT if received else self._worker.cfg.keepalive or HEAD_TIMEOUT)
        self._worker.waiting.add(self)
        try:
            return receive_head(self._receive, received, self._take_turn)
        finally:
            self._worker.waiting.discard(self)

    def _receive(self) -> bytes:
        data: bytes = self._client.recv(READ_BYTES)
        if self._has_begun and not data and self._is_expired:
            raise TimeoutError("the rest of a request's head did not arrive in time")
        if not self._has_begun:
            self._has_begun = True
            self._wait_at_most(HEAD_TIMEOUT)
        return data

    def _wait_at_most(self, seconds: float) -> None:
        if not self._worker.alive:
            seconds = STOP_TIMEOUT
        self.deadline = time.monotonic() + seconds

    def _serve_pipelined_request(self, received: bytes) -> bytes:
        """Serve a request that was sent before the response to the previous one.

        A worker serves one such request at a time. So many clients that send them delay
        other clients no more than one does.
        """
        gevent.sleep(0)
        if b"upgrade" in received[: received.find(END)].lower():
            # A WebSocket would keep its turn until it closes.
            return self._serve_with_gunicorn(received)
        has_turn = self._worker.pipelining.acquire(timeout=PIPELINING_TIMEOUT)
        try:
            return self._serve_request(received)
        finally:
            if has_turn:
                self._worker.pipelining.release()

    def _serve_request(self, received: bytes) -> bytes:
        """Serve the first request in `received`. Returns the bytes after it.

        Raises `StopIteration` if the connection must be closed.
        """
        end = received.find(END) + len(END)
        if not self._serve_cached(received[:end]):
            return self._serve_with_gunicorn(received)
        self._served += 1
        if self._served % RESPONSES_PER_TURN == 0:
            gevent.sleep(0)
        return received[end:]

    def _take_turn(self) -> None:
        """Let other connections run first, and take turns with greedy ones."""
        with self._worker.greedy:
            gevent.sleep(0)

    def _serve_cached(self, head: bytes) -> bool:
        """Serve a request on the fast path. Returns False if it declines the request."""
        # Only gunicorn's response announces that the connection will be closed.
        if not self._worker.alive or not self._worker.cfg.keepalive:
            return False
        started = time.perf_counter()
        response = self._worker.fast_path.respond(head, is_proxy_trusted=self._is_proxy_trusted)
        if response is None:
            return False
        self._send(response.head, response.body)
        logs.write_request(
            method="GET",
            target=response.target,
            status=response.status,
            length=len(response.body),
            seconds=time.perf_counter() - started,
            client=logs.client_address(response.forwarded_for, self._peer),
            request_id=response.request_id,
        )
        return True

    def _send(self, head: bytes, body: bytes) -> None:
        if len(body) <= COPIED_BYTES:
            head, body = head + body, b""
        for data in (head, body):
            if data:
                self._send_all(data)

    def _send_all(self, data: bytes) -> None:
        try:
            sent = self._client.send(data, 0, 0.0)
        except BlockingIOError:
            sent = 0
        if sent < len(data):
            self._client.settimeout(SEND_TIMEOUT)
            with _abort_if_not_read():
                self._client.sendall(memoryview(data)[sent:])
            self._client.settimeout(None)

    def _serve_with_gunicorn(self, received: bytes) -> bytes:
        # Other connections go first: the next request may be here already.
        gevent.sleep(0)
        self._client.settimeout(SEND_TIMEOUT)
        reader = RequestReader(self._client, received)
        request = Request(self._worker.cfg, reader, self._address)
        _check(request)
        if any(name == "TRANSFER-ENCODING" for name, _ in request.headers):
            # Chunks of one byte take a thousand times as long as the same bytes in one chunk.
            reader.take_turn = self._take_turn
            self._take_turn()
        request.proxy_protocol_info = {}
        request.body = body = RequestBody(request.body, reader)
        is_kept = True
        try:
            with _abort_if_not_read():
                self._worker.handle_request(
                    self._listener_name, request, self._client, self._address
                )
        except StopIteration:
            is_kept = False
        if not body.drain():
            linger(self._client)
            is_kept = False
        if not is_kept:
            raise StopIteration
        self._client.settimeout(None)
        return bytes(reader.take_buffered())


@contextlib.contextmanager
def _abort_if_not_read() -> Iterator[None]:
    """Abort the connection of a client that does not read its response.

    The server responds to other timeouts with a problem: here, in the middle of a response.
    """
    try:
        yield
    except TimeoutError:
        raise ConnectionAbortedError("the client does not read the response") from None


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


def _is_proxy_trusted(cfg: Any, address: Any) -> bool:
    """Return whether gunicorn trusts the `X-Forwarded-Proto` of this peer."""
    if not isinstance(address, tuple) or "*" in cfg.forwarded_allow_ips:
        return True
    peer = ipaddress.ip_address(address[0])
    return any(peer in network for network in cfg.forwarded_allow_networks())
