"""The measured servers: this one, its peers, and the Node server, given by URL."""

from __future__ import annotations

import math
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, closing, contextmanager, suppress
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import IO, NamedTuple
from urllib.parse import urlsplit

import psutil

from app.config import ROOT
from bench import database

PEERS = ROOT / "bench" / "peers"
PATHS = ("/api/days", "/api/appointments", "/api/interviewers")
OURS = "this server"
WORKERS = 2
POOL_SIZE = 3
# The peers. Only gunicorn writes an access log, as this server does.
FASTAPI = "uvicorn fastapi_app:app --workers 2 --port $PORT --no-access-log"
UVICORN = "uvicorn constant:asgi --workers 2 --port $PORT --no-access-log"
GUNICORN = "gunicorn constant:wsgi --worker-class gevent --access-logfile -"
# Seconds.
START_TIMEOUT = 30.0
STOP_TIMEOUT = 15.0


class Server(NamedTuple):
    """A running server, and the processes whose CPU time is counted."""

    name: str
    url: str
    pid: int | None
    postgres_pid: int | None = None
    log: IO[bytes] | None = None
    start_seconds: float = math.nan

    def connect(self) -> HTTPConnection:
        """A connection for requests one after the other."""
        parts = urlsplit(self.url)
        return HTTPConnection(parts.hostname or "127.0.0.1", parts.port, timeout=30)

    def responds(self) -> bool:
        """Whether it responds with 200."""
        with suppress(OSError, HTTPException), closing(self.connect()) as connection:
            connection.request("GET", PATHS[0])
            return connection.getresponse().status == 200
        return False


def ours(database_url: str) -> AbstractContextManager[Server]:
    """Run this server on a database, as the Procfile does."""
    lines = (ROOT / "Procfile").read_text(encoding="utf-8").splitlines()
    (command,) = (line.removeprefix("web:") for line in lines if line.startswith("web:"))
    return running(OURS, command, ROOT, DATABASE_URL=database_url)


@contextmanager
def running(name: str, command: str, folder: Path = PEERS, **settings: str) -> Iterator[Server]:
    """Run a command on a free port, with the settings that Heroku would give and these."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environ = {
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
        "PORT": str(port),
        "WEB_CONCURRENCY": str(WORKERS),
        "DB_POOL_SIZE": str(POOL_SIZE),
        "APP_ENV": "production",
        **settings,
    }
    url = settings.get("DATABASE_URL")
    postgres_pid = database.postgres_pid(url) if url else None
    with tempfile.TemporaryFile("a+b") as log:
        started = time.perf_counter()
        process = subprocess.Popen(
            ["sh", "-c", f"exec {command}"], cwd=folder, env=environ, stdout=log, stderr=log
        )
        server = Server(name, f"http://127.0.0.1:{port}", process.pid, postgres_pid, log)
        try:
            while not server.responds():
                if process.poll() is not None or time.perf_counter() > started + START_TIMEOUT:
                    log.seek(0)
                    sys.exit(f"{name} does not respond:\n{log.read().decode()[-2000:]}")
                time.sleep(0.001)
            seconds = time.perf_counter() - started
            # Give every worker time to start and to listen for changes.
            time.sleep(1.0)
            yield server._replace(start_seconds=seconds)
        finally:
            process.terminate()
            try:
                process.wait(STOP_TIMEOUT)
            except subprocess.TimeoutExpired:
                process.kill()


def node(url: str, database_url: str | None) -> Server:
    """The Node server, which you have started."""
    port = urlsplit(url).port
    pids = [
        connection.pid
        for connection in psutil.net_connections("tcp")
        if connection.status == psutil.CONN_LISTEN and connection.laddr[1:] == (port,)
    ]
    postgres_pid = database.postgres_pid(database_url) if database_url else None
    server = Server("the Node server", url.rstrip("/"), pids[0] if pids else None, postgres_pid)
    if not server.responds():
        sys.exit(f"The Node server does not respond at {url}.")
    return server


def cpu_seconds(pid: int | None) -> float:
    """Return the CPU time of a process and its descendants, including ended ones."""
    return math.nan if pid is None else sum(sum(one.cpu_times()[:4]) for one in _tree(pid))


def memory_bytes(pid: int) -> int:
    """Return the memory of a process and its descendants. Shared pages count once (PSS)."""
    return sum(one.memory_full_info().pss for one in _tree(pid))


def _tree(pid: int) -> list[psutil.Process]:
    root = psutil.Process(pid)
    return [root, *root.children(recursive=True)]
