"""gunicorn's gevent worker, hardened against slow and hostile clients.

- It serves plain requests on the fast path, and every other request with gunicorn.
- Requests that gunicorn refuses get an error response.
- No client can occupy it: requests are limited in size and time.
- It stops within seconds, even with many idle connections, and resets none.

Read `client_connection.py` next. Only `gunicorn.conf.py` imports this module.
"""

from __future__ import annotations

import contextlib
import time
from functools import partial
from heapq import nsmallest
from operator import attrgetter
from typing import Any

import gevent
from gevent.event import Event
from gevent.lock import Semaphore
from gevent.pool import Pool
from gevent.server import StreamServer
from gunicorn import util
from gunicorn.workers.ggevent import GeventWorker

from app.server.client_connection import STOP_TIMEOUT, ClientConnection
from app.server.fast_path import FastPath
from app.server.refusals import refuse

# Seconds between checks for expired connections.
WATCH_INTERVAL = 0.1
# Seconds. If a check is late by more than this, the event loop is slow.
SLOW_LOOP_DELAY = 0.02
# Connections to accept in each iteration of the event loop under load: if the loop is slow,
# or if more than this many were accepted since the last check. Otherwise 1.
MAX_ACCEPT = 32
# Seconds between heartbeats to gunicorn's master process.
NOTIFY_INTERVAL = 1.0


class DrainingServer(StreamServer):
    """A server that accepts the connections in the kernel's queue before it closes.

    Closing the listening socket would reset them.
    """

    def close(self) -> None:
        """Accept the waiting connections, then close.

        If the worker is full, each of them waits until another connection ends.
        """
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
        self.waiting: set[ClientConnection] = set()
        self._has_to_stop = Event()
        self._accepted = 0
        # Connections with incomplete heads or chunked bodies take turns to receive more bytes, and
        # those with pipelined requests take turns to be served.
        self.reading_turn = Semaphore(1)
        self.pipelining_turn = Semaphore(1)

    def run(self) -> None:
        """Serve until the worker is stopped."""
        self.fast_path = FastPath(self.wsgi, self.cfg)
        connections = Pool(self.worker_connections)
        servers = [self._start_server(listener, connections) for listener in self.sockets]
        gevent.spawn(self._watch, servers, connections)
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
            # Read the address now: the socket may be closed before the connection is handled.
            handle=partial(self.handle, listener.getsockname()),
            spawn=connections,
        )
        server.max_accept = 1
        server.start()
        return server

    def handle(self, bound_address: Any, client: Any, addr: Any) -> None:
        """Serve a connection until it closes. `bound_address` is that of the listening socket."""
        self._accepted += 1
        connection = ClientConnection(self, bound_address, client, addr)
        try:
            connection.serve()
        except gevent.GreenletExit:
            pass  # the time to finish requests is over
        except TimeoutError as error:
            self._refuse(connection, error)
        except OSError:
            pass  # the client is gone
        except Exception as error:  # noqa: BLE001 -- becomes a response
            self._refuse(connection, error)
        finally:
            util.close(client)

    def _refuse(self, connection: ClientConnection, error: Exception) -> None:
        refuse(connection.client, connection.peer, error, self.wsgi.config["CORS_ORIGINS"])

    def handle_exit(self, sig: int, frame: Any) -> None:
        """Finish the current requests and close every other connection, on SIGTERM."""
        super().handle_exit(sig, frame)
        self._has_to_stop.set()
        if self.booted:
            gevent.spawn(self._stop)

    def _stop(self) -> None:
        for connection in self.waiting:
            connection.deadline = min(connection.deadline, time.monotonic() + STOP_TIMEOUT)
        self.wsgi.extensions["broadcaster"].stop()

    def _watch(self, servers: list[DrainingServer], connections: Pool) -> None:
        """End expired waits, and accept faster if the loop is slow or many clients connect."""
        while True:
            started = time.monotonic()
            gevent.sleep(WATCH_INTERVAL)
            is_slow = time.monotonic() - started > WATCH_INTERVAL + SLOW_LOOP_DELAY
            are_many = self._accepted > MAX_ACCEPT
            self._accepted = 0
            for server in servers:
                # Accepting one connection leaves the next one to another worker. Under load,
                # that would make connections wait for seconds.
                server.max_accept = MAX_ACCEPT if is_slow or are_many else 1
            self._expire(is_full=connections.full())

    def _expire(self, *, is_full: bool) -> None:
        """End the waits that have passed their deadline. A full worker ends some early."""
        now = time.monotonic()
        expired = [connection for connection in self.waiting if connection.deadline <= now]
        if is_full and not expired:
            # New clients need a connection more than those that send nothing.
            count = 1 + len(self.waiting) // 10
            expired = nsmallest(count, self.waiting, key=attrgetter("waiting_since"))
        for connection in expired:
            gevent.get_hub().loop.run_callback(connection.expire)
