"""A bad network between the application and PostgreSQL."""

from __future__ import annotations

import select
import socket
import threading
from contextlib import suppress
from pathlib import Path

from psycopg2.extensions import parse_dsn

from tests.support.database import as_url


class Proxy:
    """A bad network between the application and PostgreSQL.

    It notes what passes; it can lose a kind of message, and break the connection
    on a statement, before or after PostgreSQL has carried it out.
    """

    def __init__(self, dsn: str, folder: Path) -> None:
        parts = parse_dsn(dsn)
        self._host, self._port = parts.get("host", "localhost"), parts.get("port", "5432")
        self.url = as_url({**parts, "host": str(folder), "port": "5432"})
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(folder / ".s.PGSQL.5432"))
        self._listener.listen(100)
        self.statements: list[bytes] = []
        self.loses = b""
        self.breaks_before: list[bytes] = []
        self.breaks_after: list[bytes] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def count(self, text: bytes) -> int:
        """How many statements with this text passed."""
        return sum(text in statement for statement in self.statements)

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
        with suppress(OSError), client, self._connect() as server:
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
                    server.sendall(data)
                if server in ready:
                    data = server.recv(65536)
                    if not data or is_breaking:
                        return
                    unread += data
                    kept = b""
                    # A message is a letter, its length without the letter, and so many bytes.
                    while len(unread) >= 5 and len(unread) > (
                        length := int.from_bytes(unread[1:5], "big")
                    ):
                        message, unread = unread[: length + 1], unread[length + 1 :]
                        kept += message if message[:1] not in self.loses else b""
                    client.sendall(kept)


def _take(texts: list[bytes], data: bytes) -> bool:
    """Whether the data holds one of these, which then has served."""
    for text in texts:
        if text in data:
            texts.remove(text)
            return True
    return False
