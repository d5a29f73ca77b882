"""Clients that send requests without a pause."""

from __future__ import annotations

import http.client
import json
import time
from contextlib import closing
from typing import Any

from tests.support.http import ask, booking
from tests.support.server import Server
from tests.support.threads import Threads

# Seconds. A connection used within this time is not closed as idle.
NOT_IDLE = 0.4


class Load:
    """Clients that send requests until the block of threads ends, and count the responses."""

    def __init__(self, server: Server, threads: Threads) -> None:
        self.server = server
        self.statuses: list[int] = []
        self.dropped: list[str] = []
        self.stopping = threads.stopping

    def on_new_connections(self) -> None:
        while not self.stopping.is_set():
            try:
                self.statuses.append(ask(self.server, *self._request()).status)
            except (OSError, http.client.HTTPException) as error:
                self.dropped.append(repr(error))

    def on_kept_connections(self) -> None:
        """Send requests on one connection after the other."""
        while not self.stopping.is_set():
            self.on_one_connection()

    def on_one_connection(self) -> None:
        """Send requests until the server closes the connection.

        A server may close an idle connection at any time, even while a request is on its
        way. The client then sends the request again on a new connection (RFC 9112, section
        9.3.1). A request counts as dropped only if no idle close can explain it.
        """
        connection = http.client.HTTPConnection("127.0.0.1", self.server.port, timeout=10)
        with closing(connection):
            last_at = None
            while not self.stopping.is_set():
                method, path, body = self._request()
                data = body and json.dumps(body)
                sent_at = None
                started_at = time.monotonic()
                try:
                    connection.request(method, path, data, {"Content-Type": "application/json"})
                    sent_at = time.monotonic()
                    response = connection.getresponse()
                    response.read()
                except (OSError, http.client.HTTPException) as error:
                    if last_at is None or (sent_at and sent_at - last_at < NOT_IDLE):
                        self.dropped.append(repr(error))
                    return
                self.statuses.append(response.status)
                if response.will_close:
                    return
                last_at = started_at

    def _request(self) -> tuple[str, str, Any]:
        if len(self.statuses) % 3 == 2:
            return "PUT", "/api/appointments/1", booking("A")
        return "GET", "/api/appointments", None
