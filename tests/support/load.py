"""Clients that ask again and again."""

from __future__ import annotations

import http.client
from contextlib import closing
from typing import Any

from tests.support.http import ask, booking
from tests.support.server import Server
from tests.support.threads import Threads


class Load:
    """Clients that ask again and again, each counting its answers; errors end them."""

    def __init__(self, server: Server, threads: Threads) -> None:
        self.server = server
        self.answers: list[int] = []
        self.dropped: list[str] = []
        self.stopping = threads.stopping

    def on_new_connections(self) -> None:
        while not self.stopping.is_set():
            try:
                self.answers.append(ask(self.server, *self._request()).status)
            except (OSError, http.client.HTTPException) as error:
                self.dropped.append(repr(error))

    def on_one_connection(self) -> None:
        """Until the server says that it closes the connection."""
        connection = http.client.HTTPConnection("127.0.0.1", self.server.port, timeout=10)
        with closing(connection):
            while not self.stopping.is_set():
                method, path, body = self._request()
                try:
                    connection.request(
                        method,
                        path,
                        body and b'{"interview":{"student":"A","interviewer":1}}',
                        {"Content-Type": "application/json"},
                    )
                    response = connection.getresponse()
                    response.read()
                except (OSError, http.client.HTTPException) as error:
                    self.dropped.append(repr(error))
                    return
                self.answers.append(response.status)
                if response.will_close:
                    return

    def _request(self) -> tuple[str, str, Any]:
        if len(self.answers) % 3 == 2:
            return "PUT", "/api/appointments/1", booking("A")
        return "GET", "/api/appointments", None
