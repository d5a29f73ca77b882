"""gunicorn's gevent worker, made safe for browsers, for slow clients and for hostile ones.

- It serves cached responses on the fast path, and every other request with gunicorn.
- Requests that gunicorn refuses get a problem, like every other error.
- No client can occupy it: what a client sends is limited, and so is the time it may take.
- It stops within seconds, however many connections are idle, and resets none.

Read `connection.py` next. Only `gunicorn.conf.py` imports this module.
"""

from __future__ import annotations

import contextlib
import time
from datetime import timedelta
from functools import partial
from typing import Any

import gevent
from gevent.event import Event
from gevent.lock import Semaphore
from gevent.pool import Pool
from gevent.server import StreamServer
from gunicorn import util
from gunicorn.glogging import Logger as GunicornLogger
from gunicorn.workers.ggevent import GeventWorker

from app import logs
from app.server.connection import STOP_TIMEOUT, Connection
from app.server.fast_path import FastPath
from app.server.refusals import refuse

# Seconds between two looks at the connections and at how long the event loop takes.
WATCH_INTERVAL = 0.1
SLOW_TURN = 0.02
# Connections that a worker accepts in one turn of the event loop while turns are slow.
MAX_ACCEPT = 32
# Seconds between two signs of life to gunicorn's master process.
NOTIFY_INTERVAL = 1.0


class Logger(GunicornLogger):  # type: ignore[misc]
    """gunicorn's logger, with the project's own line for each request."""

    def access(self, resp: Any, req: Any, environ: Any, request_time: timedelta) -> None:
        """Log a request."""
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


class DrainingServer(StreamServer):
    """A server that accepts the connections in the kernel's queue before it closes.

    Closing the listening socket would reset them.
    """

    def close(self) -> None:
        """Accept what waits, then close."""
        if not self.closed:
            with contextlib.suppress(OSError):
                while accepted := self.do_read():
                    self.do_handle(*accepted)
        super().close()


class Worker(GeventWorker):  # type: ignore[misc]
    """The worker class of `gunicorn.conf.py`."""

    fast_path: FastPath

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        # The connections that wait for a request.
        self.waiting: set[Connection] = set()
        self._has_to_stop = Event()
        # Connections that send without waiting take turns: while they read, and while
        # their requests are served.
        self.greedy = Semaphore(1)
        self.pipelining = Semaphore(1)

    def run(self) -> None:
        """Serve until the worker is stopped."""
        entries = self.wsgi.extensions["cache"].entries
        self.fast_path = FastPath(entries, self.wsgi.config["CORS_ORIGINS"])
        connections = Pool(self.worker_connections)
        servers = [self._start_server(listener, connections) for listener in self.sockets]
        gevent.spawn(self._watch, servers)
        while self.alive:
            self.notify()
            self._has_to_stop.wait(NOTIFY_INTERVAL)
        for server in servers:
            server.close()
        deadline = time.monotonic() + self.cfg.graceful_timeout
        while connections and time.monotonic() < deadline:
            self.notify()
            gevent.sleep(0.05)
        for server in servers:
            server.stop(timeout=1)

    def _start_server(self, listener: Any, connections: Pool) -> DrainingServer:
        server = DrainingServer(
            listener,
            # The name now: a connection may be accepted just before the listener is closed.
            handle=partial(self.handle, listener.getsockname()),
            spawn=connections,
        )
        server.max_accept = 1
        server.start()
        return server

    def handle(self, listener: Any, client: Any, addr: Any) -> None:
        """Serve a connection, accepted at a listener of this name, until it closes."""
        try:
            Connection(self, listener, client, addr).serve()
        except gevent.GreenletExit:
            pass  # the worker has waited for it long enough
        except TimeoutError as error:
            self.handle_error(None, client, addr, error)
        except OSError:
            pass  # the client is gone
        except Exception as error:  # noqa: BLE001 -- becomes a response
            self.handle_error(None, client, addr, error)
        finally:
            util.close(client)

    def handle_error(self, req: Any, client: Any, addr: Any, exc: BaseException) -> None:
        """Respond to a request that did not reach the application."""
        refuse(client, exc, self.wsgi.config["CORS_ORIGINS"])

    def handle_exit(self, sig: int, frame: Any) -> None:
        """SIGTERM: finish the requests under way, close every other connection."""
        super().handle_exit(sig, frame)
        self._has_to_stop.set()
        if self.booted:
            gevent.spawn(self._stop)

    def _stop(self) -> None:
        for connection in self.waiting:
            connection.deadline = min(connection.deadline, time.monotonic() + STOP_TIMEOUT)
        self.wsgi.extensions["broadcaster"].stop()
        gevent.sleep(STOP_TIMEOUT)
        self._expire()

    def _watch(self, servers: list[DrainingServer]) -> None:
        """End waits that take too long, and accept faster while everything else is slow."""
        while True:
            started = time.monotonic()
            gevent.sleep(WATCH_INTERVAL)
            is_slow = time.monotonic() - started > WATCH_INTERVAL + SLOW_TURN
            for server in servers:
                # One connection per turn of the event loop leaves the next one to the other
                # workers. But if turns are long, a queue of connections would take seconds.
                server.max_accept = MAX_ACCEPT if is_slow else 1
            self._expire()

    def _expire(self) -> None:
        """End the waits for requests that have taken too long."""
        now = time.monotonic()
        for connection in [each for each in self.waiting if each.deadline <= now]:
            connection.expire()
