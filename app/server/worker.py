"""gunicorn's gevent worker, with the manners that browsers and Heroku's router need.

It answers what gunicorn itself refuses with a problem like every other error,
lets go of clients that stall, and stops within seconds however many connections
idle. Only `gunicorn.conf.py` imports this.
"""

from __future__ import annotations

import contextlib
import socket
from datetime import timedelta
from http import HTTPStatus
from typing import Any

import gevent
from gunicorn import util
from gunicorn.glogging import Logger as GunicornLogger
from gunicorn.http import errors as refused
from gunicorn.http import wsgi
from gunicorn.workers.ggevent import GeventWorker

from app import logs
from app.http import response_headers
from app.http.errors import problem_json
from app.server.request_body import DISCARD_BYTES, Body, Response

# Seconds for a client to take its answer.
TAKEN_WITHIN = 20.0
# Seconds a connection may still idle once the server stops.
LAST_REQUEST_WITHIN = 0.5

BODY_HEADERS = {"CONTENT-LENGTH", "TRANSFER-ENCODING"}

REFUSALS = {
    refused.LimitRequestLine: (414, "The request line is too long."),
    refused.LimitRequestHeaders: (431, "The headers are too large."),
    refused.ExpectationFailed: (417, "Only Expect: 100-continue can be met."),
    refused.UnsupportedTransferCoding: (501, "Only the transfer coding chunked is understood."),
    refused.ForbiddenProxyRequest: (403, "This proxy may not speak for others."),
}


class IdleTimeout(gevent.Timeout):
    """The wait for a connection's next request, which stopping cuts short."""

    def __init__(self, seconds: float, waiting: set[IdleTimeout]) -> None:
        super().__init__(seconds, False)  # type: ignore[arg-type]
        self.waiting = waiting
        self.greenlet = gevent.getcurrent()

    def __enter__(self) -> Any:
        self.waiting.add(self)
        return super().__enter__()

    def __exit__(self, *exception: Any) -> Any:
        self.waiting.discard(self)
        return super().__exit__(*exception)


class Logger(GunicornLogger):  # type: ignore[misc]
    """gunicorn's log, with the project's own line for each request."""

    def access(self, resp: Any, req: Any, environ: Any, request_time: timedelta) -> None:
        """Log a request that was answered."""
        logs.write_request(
            method=environ["REQUEST_METHOD"],
            target=environ["RAW_URI"],
            status=resp.status_code,
            length=resp.sent,
            seconds=request_time.total_seconds(),
            client=logs.client_address(
                environ.get("HTTP_X_FORWARDED_FOR"), environ.get("REMOTE_ADDR", "")
            ),
            request_id=environ.get("HTTP_X_REQUEST_ID", ""),
        )


class Worker(GeventWorker):  # type: ignore[misc]
    """The worker class of `gunicorn.conf.py`."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._waiting: set[IdleTimeout] = set()

    def init_process(self) -> None:
        """Start to serve; gunicorn answers with the class that it finds in its module."""
        wsgi.Response = Response
        super().init_process()

    def timeout_ctx(self) -> IdleTimeout:
        """gunicorn waits inside this for a request's line and headers."""
        return IdleTimeout(self.cfg.keepalive if self.alive else LAST_REQUEST_WITHIN, self._waiting)

    def handle_exit(self, sig: int, frame: Any) -> None:
        """SIGTERM: finish the requests at hand, let everybody else go."""
        super().handle_exit(sig, frame)
        if self.booted:
            gevent.spawn(self._dismiss)

    def _dismiss(self) -> None:
        self.wsgi.extensions["live"].stop()
        gevent.sleep(LAST_REQUEST_WITHIN)
        hub = gevent.get_hub()
        for timeout in list(self._waiting):
            hub.loop.run_callback(self._let_go, timeout)

    def _let_go(self, timeout: IdleTimeout) -> None:
        # Its next request may have come meanwhile; that one is answered.
        if timeout in self._waiting:
            timeout.greenlet.throw(timeout)

    def handle_request(self, listener_name: Any, req: Any, sock: socket.socket, addr: Any) -> Any:
        """Answer one request, to a client that keeps up."""
        # A connection whose next request is there already would keep the others waiting.
        gevent.sleep(0)
        names = {name for name, _ in req.headers}
        if req.version >= (1, 1) and "HOST" not in names:
            # RFC 9112, section 3.2: a request without Host is answered with 400.
            raise refused.InvalidHeader("HOST", req=req)
        if names & BODY_HEADERS:
            req.body = Body(req.body)
        sock.settimeout(TAKEN_WITHIN)
        try:
            return super().handle_request(listener_name, req, sock, addr)
        except TimeoutError:
            raise StopIteration from None
        finally:
            sock.settimeout(None)

    def handle_error(self, req: Any, client: socket.socket, addr: Any, exc: BaseException) -> None:
        """Answer a request that never reached the application."""
        # Nothing of a request that could not be parsed is believed, its `Origin` neither.
        environ = {"wsgi.url_scheme": "http"}
        carried = response_headers.headers(environ, self.wsgi.config["CORS_ORIGINS"])
        request_id = environ["HTTP_X_REQUEST_ID"]
        if isinstance(exc, refused.ParseException):
            status, detail = REFUSALS.get(
                type(exc), (400, "This is not a request as HTTP/1.1 has it.")
            )
            self.log.warning(
                "request refused",
                extra={"status": status, "error": str(exc)[:200], "request_id": request_id},
            )
        else:
            status, detail = 500, "The server made a mistake. It has been logged."
            self.log.error("unexpected error", exc_info=exc, extra={"request_id": request_id})
        body = problem_json(status, detail)
        headers = [
            ("Content-Type", "application/problem+json"),
            ("Content-Length", str(len(body))),
            ("Connection", "close"),
            *carried,
        ]
        head = f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\n"
        head += "".join(f"{name}: {value}\r\n" for name, value in headers)
        with contextlib.suppress(OSError):
            client.settimeout(TAKEN_WITHIN)
            util.write(client, head.encode("ascii") + b"\r\n" + body)
            _discard(client)


def _discard(client: socket.socket) -> None:
    """Read on for a moment: closing on unread bytes takes the answer back (RFC 9112, 9.6)."""
    client.shutdown(socket.SHUT_WR)
    client.settimeout(1.0)
    for _ in range(DISCARD_BYTES // 65536):
        if not client.recv(65536):
            break
