"""gunicorn's gevent worker, hardened against slow and hostile clients.

- It serves plain requests on the fast path, and every other request with gunicorn.
- Requests that gunicorn refuses get a problem response.
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

# Seconds between checks for expired connections, and the delay of a check that shows that
# the event loop is slow.
WATCH_INTERVAL = 0.1
SLOW_TURN = 0.02
# Connections that a worker accepts in one turn of the event loop if the loop is slow, or if
# more than this many were accepted since the last check. Otherwise it accepts one.
MAX_ACCEPT = 32
# Seconds between heartbeats to gunicorn's master process.
NOTIFY_INTERVAL = 1.0


class DrainingServer(StreamServer):
    """A server that accepts the connections in the kernel's queue before it closes.

    Closing the listening socket would reset them.
    """

    def close(self) -> None:
        """Accept the waiting connections, then close."""
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
        # Connections that send without waiting take turns: to be read, and to be served.
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
            # Read the name now: the listener may be closed before the connection is handled.
            handle=partial(self.handle, listener.getsockname()),
            spawn=connections,
        )
        server.max_accept = 1
        server.start()
        return server

    def handle(self, listener: Any, client: Any, addr: Any) -> None:
        """Serve a connection until it closes. `listener` is the name of the listening socket."""
        self._accepted += 1
        try:
            ClientConnection(self, listener, client, addr).serve()
        except gevent.GreenletExit:
            pass  # the time to finish requests is over
        except TimeoutError as error:
            refuse(client, error, self.wsgi.config["CORS_ORIGINS"])
        except OSError:
            pass  # the client is gone
        except Exception as error:  # noqa: BLE001 -- becomes a response
            refuse(client, error, self.wsgi.config["CORS_ORIGINS"])
        finally:
            util.close(client)

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
            is_slow = time.monotonic() - started > WATCH_INTERVAL + SLOW_TURN
            are_many = self._accepted > MAX_ACCEPT
            self._accepted = 0
            for server in servers:
                # Accepting one connection per turn leaves the next one to another worker. With
                # long turns or many connections, it would let connections wait for seconds.
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
