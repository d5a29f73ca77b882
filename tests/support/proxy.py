"""A faulty network between the application and PostgreSQL."""

from __future__ import annotations

import select
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

from psycopg2.extensions import parse_dsn

from tests.support.database import as_url


class Hold(NamedTuple):
    """One statement, or the reply to one, that waits until the test lets it pass."""

    text: bytes
    is_reply: bool
    hangs_up: bool
    reached: threading.Event
    passes: threading.Event


class Proxy:
    """It notes which statements arrive.

    It can lose messages of some types, break the connection on a statement, before or after
    PostgreSQL has executed it, and hold back a statement or its reply.
    """

    def __init__(self, dsn: str, folder: Path) -> None:
        parts = parse_dsn(dsn)
        self._host, self._port = parts.get("host", "localhost"), parts.get("port", "5432")
        self.url = as_url({**parts, "host": str(folder), "port": "5432"})
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(folder / ".s.PGSQL.5432"))
        self._listener.listen(100)
        self.statements: list[bytes] = []
        # Letters of PostgreSQL's message types, such as A for a notification.
        self.lost_types = b""
        self.breaks_before: list[bytes] = []
        self.breaks_after: list[bytes] = []
        self._holds: list[Hold] = []
        self._all_holds: list[Hold] = []
        self._lock = threading.Lock()
        self._open = 0
        self.most_open = 0
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.release()

    def release(self) -> None:
        """Let everything pass that is held back."""
        for hold in self._all_holds:
            hold.passes.set()

    def count(self, text: bytes) -> int:
        """Return how many statements with this text have arrived."""
        return sum(text in statement for statement in self.statements)

    def hold(self, text: bytes, *, hangs_up: bool = False) -> Hold:
        """Hold back the next statement with this text; it still reaches PostgreSQL later.

        With `hangs_up`, the application loses its connection at once.
        """
        return self._add(Hold(text, False, hangs_up, threading.Event(), threading.Event()))

    def hold_reply(self, text: bytes) -> Hold:
        """Hold back the reply to the next statement with this text."""
        return self._add(Hold(text, True, False, threading.Event(), threading.Event()))

    def _add(self, hold: Hold) -> Hold:
        self._holds.append(hold)
        self._all_holds.append(hold)
        return hold

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                threading.Thread(target=self._serve, args=[client], daemon=True).start()

    def _connect(self) -> socket.socket:
        if not self._host.startswith("/"):
            return socket.create_connection((self._host, int(self._port)))
        server = socket.socket(socket.AF_UNIX)
        server.connect(f"{self._host}/.s.PGSQL.{self._port}")
        return server

    def _serve(self, client: socket.socket) -> None:
        with suppress(OSError), client, self._connect() as server, self._counted():
            self._pass_on(client, server)

    @contextmanager
    def _counted(self) -> Iterator[None]:
        """Count a connection as open until either side closes it."""
        with self._lock:
            self._open += 1
            self.most_open = max(self.most_open, self._open)
        try:
            yield
        finally:
            with self._lock:
                self._open -= 1

    def _pass_on(self, client: socket.socket, server: socket.socket) -> None:
        unread = b""
        is_breaking = False
        while True:
            ready, _, _ = select.select([client, server], [], [])
            if client in ready:
                data = client.recv(65536)
                self.statements.append(data)
                if not data or _take(self.breaks_before, data):
                    return
                is_breaking = _take(self.breaks_after, data)
                hold = self._hold_of(data)
                if hold and not hold.is_reply:
                    _wait(hold, client)
                server.sendall(data)
                if hold and hold.is_reply:
                    _wait(hold, client)
            if server in ready:
                data = server.recv(65536)
                if not data or is_breaking:
                    return
                unread += data
                kept = b""
                # A message: one letter, a length that excludes the letter, then the data.
                while len(unread) >= 5 and len(unread) > (
                    length := int.from_bytes(unread[1:5], "big")
                ):
                    message, unread = unread[: length + 1], unread[length + 1 :]
                    kept += message if message[:1] not in self.lost_types else b""
                client.sendall(kept)

    def _hold_of(self, data: bytes) -> Hold | None:
        """Return what holds back this statement, or the reply to it."""
        with self._lock:
            for hold in self._holds:
                if hold.text in data:
                    self._holds.remove(hold)
                    return hold
        return None


def _wait(hold: Hold, client: socket.socket) -> None:
    if hold.hangs_up:
        client.shutdown(socket.SHUT_RDWR)
    hold.reached.set()
    hold.passes.wait(30)


def _take(texts: list[bytes], data: bytes) -> bool:
    """Return whether the data contains one of these texts, which is then removed."""
    for text in texts:
        if text in data:
            texts.remove(text)
            return True
    return False
