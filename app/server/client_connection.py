"""A client's connection: receives requests one by one, and serves each on one of two paths."""

from __future__ import annotations

import contextlib
import re
import time
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

import gevent

from app.logs import request_log
from app.server import gunicorn_path
from app.server.request_body import READ_BYTES
from app.server.request_head import END, receive_head
from app.server.sending import send

if TYPE_CHECKING:
    from app.server.worker import Worker

# Maximum seconds between the first and the last byte of a request's head.
HEAD_TIMEOUT = 20.0
# Seconds that a connection may still wait for a request while the worker stops.
STOP_TIMEOUT = 0.5
# Responses to one connection before others get a turn.
RESPONSES_PER_TURN = 8
# Seconds that a pipelined request waits for those of other connections.
PIPELINING_TIMEOUT = 0.5


_asks_for_websocket = re.compile(rb"\r\nupgrade:[ \t]*websocket", re.IGNORECASE).search


class ClientConnection:
    """A connection that the worker has accepted."""

    def __init__(self, worker: Worker, bound_address: Any, client: Any, address: Any) -> None:
        self.worker = worker
        self.bound_address = bound_address
        self.client = client
        self.address = address
        self.peer = str(address[0]) if isinstance(address, tuple) else str(address)
        self._receive: Callable[[], bytes] = partial(client.recv, READ_BYTES)
        self._is_proxy_trusted = gunicorn_path.is_proxy_trusted(worker.cfg, address)
        self._greenlet = gevent.getcurrent()
        self._served = 0
        # The beginning and the end of the wait for a request (`time.monotonic()`).
        self.waiting_since = 0.0
        self.deadline = 0.0

    def serve(self) -> None:
        """Serve requests until the client or the server closes the connection.

        Raises `OSError` if the connection breaks, and gunicorn's exceptions for a request
        that is refused.
        """
        received: bytes | None = self._receive_head(b"")
        while received:
            received = self._serve_request(received)
            while received and END in received:
                received = self._serve_pipelined_request(received)
            if received is not None:
                received = self._receive_head(received)

    def expire(self) -> None:
        """End the wait for a request, if it has not ended yet. Only the hub may call this."""
        if self in self.worker.waiting:
            self._greenlet.throw(TimeoutError("a request's head did not arrive in time"))

    def _receive_head(self, received: bytes) -> bytes:
        """Receive until a head is complete. Returns b"" if none begins in time, or at the end."""
        self.worker.waiting.add(self)
        try:
            if not received:
                received = self._receive_first_bytes()
            if received and END not in received:
                self._set_deadline(HEAD_TIMEOUT)
                received = receive_head(self._receive, received, self.take_turn)
            return received
        finally:
            self.worker.waiting.discard(self)

    def _receive_first_bytes(self) -> bytes:
        self._set_deadline(self.worker.cfg.keepalive or HEAD_TIMEOUT)
        try:
            return self._receive()
        except TimeoutError:
            # A request may have arrived at this moment.
            self.client.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                received = self._receive()
                self.client.setblocking(True)
                return received
            return b""

    def _set_deadline(self, seconds: float) -> None:
        if not self.worker.alive:
            seconds = STOP_TIMEOUT
        self.waiting_since = time.monotonic()
        self.deadline = self.waiting_since + seconds

    def _serve_pipelined_request(self, received: bytes) -> bytes | None:
        """Serve a request that was sent before the response to the previous one.

        Such requests take turns: each waits for its turn, but at most PIPELINING_TIMEOUT. A
        hundred clients that send them delay others hardly more than one does.
        """
        gevent.sleep(0)
        if received.startswith(b"GET ") and _asks_for_websocket(received, 0, received.find(END)):
            # A WebSocket would keep its turn until it closes.
            return self._serve_with_gunicorn(received)
        has_turn = self.worker.pipelining_turn.acquire(timeout=PIPELINING_TIMEOUT)
        try:
            return self._serve_request(received)
        finally:
            if has_turn:
                self.worker.pipelining_turn.release()

    def _serve_request(self, received: bytes) -> bytes | None:
        """Serve the first request in `received`. Returns the bytes after it.

        Returns None if the connection must be closed.
        """
        # The fast path always sends `Connection: keep-alive`.
        if not self.worker.alive or not self.worker.cfg.keepalive:
            return self._serve_with_gunicorn(received)
        started = time.perf_counter()
        request = self.worker.fast_path.parse(received)
        if request is None:
            return self._serve_with_gunicorn(received)
        response = self.worker.fast_path.respond(
            request, self.peer, is_proxy_trusted=self._is_proxy_trusted
        )
        try:
            send(self.client, response.head, response.body)
        finally:
            request_log.write(
                method=request.method,
                target=request.target,
                status=response.status,
                length=len(response.body),
                seconds=time.perf_counter() - started,
                client=request_log.client_address(request.header(b"x-forwarded-for"), self.peer),
                request_id=response.request_id,
            )
        self._served += 1
        if self._served % RESPONSES_PER_TURN == 0:
            gevent.sleep(0)
        return received[request.end :]

    def _serve_with_gunicorn(self, received: bytes) -> bytes | None:
        # Let other connections run. If the client's next request has arrived already, `recv`
        # returns without waiting, so a busy client would never let them run.
        gevent.sleep(0)
        return gunicorn_path.serve(self, received)

    def take_turn(self) -> None:
        """Let other connections run. Those that call this take turns."""
        with self.worker.reading_turn:
            gevent.sleep(0)
