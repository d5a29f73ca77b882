"""The servers that are measured: this one, bare gunicorn, and those given by URL."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import IO, NamedTuple
from urllib.parse import urlsplit

from app.config import ROOT
from bench import database, procfs
from bench.client import Client

OURS = "this server"
BARE = "bare gunicorn"
PATHS = ("/api/days", "/api/appointments", "/api/interviewers")
WORKERS = 2
POOL_SIZE = 3
# Seconds.
READY_WITHIN = 30.0
STOPPED_WITHIN = 15.0


class Server(NamedTuple):
    """A server that runs: where, as which process, and on whose PostgreSQL if that is known."""

    name: str
    url: str
    pid: int | None
    database_url: str | None = None
    postmaster: int | None = None


class NotReadyError(Exception):
    """A server did not come up; the message is the end of its log."""


def command() -> str:
    """The Procfile's own `web:` line."""
    for line in (ROOT / "Procfile").read_text(encoding="utf-8").splitlines():
        process_type, _, words = line.partition(":")
        if process_type == "web":
            return words.strip()
    raise LookupError("the Procfile has no web: line")


@contextmanager
def ours(database_url: str) -> Iterator[Server]:
    """Run this server on a database."""
    environ = {"DATABASE_URL": database_url}
    with _running(OURS, command(), environ, PATHS[0]) as (url, pid):
        yield Server(OURS, url, pid, database_url, database.postmaster(database_url))


@contextmanager
def bare(sizes: Mapping[str, int]) -> Iterator[Server]:
    """Run gunicorn with constant answers of these sizes, otherwise as this server is run."""
    web = command().replace('"app:create_app()"', "bench.bare:app")
    environ = {"BARE_SIZES": " ".join(f"{path}={size}" for path, size in sizes.items())}
    with _running(BARE, web, environ, next(iter(sizes))) as (url, pid):
        yield Server(BARE, url, pid)


def given(name: str, url: str, pid: int | None, database_url: str | None) -> Server:
    """A server that somebody else has started; raises `NotReadyError` where it is not there."""
    try:
        with closing(Client(url)) as client:
            client.get(PATHS[0])
    except OSError as error:
        raise NotReadyError(f"{name} does not answer at {url}: {error}") from error
    if pid is None:
        try:
            pid = procfs.listener(urlsplit(url).port or 80)
        except LookupError as error:
            print(f"{name}: {error}; its CPU time is not counted")
    postmaster = database.postmaster(database_url) if database_url else None
    return Server(name, url.rstrip("/"), pid, database_url, postmaster)


def start(
    web: str, environ: Mapping[str, str], output: int | IO[bytes]
) -> tuple[subprocess.Popen[bytes], str]:
    """Start a command as Heroku does, on a free port; give the process and the URL."""
    port = _free_port()
    process = subprocess.Popen(
        ["sh", "-c", f"exec {web}"],
        cwd=ROOT,
        env={
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "PORT": str(port),
            "WEB_CONCURRENCY": str(WORKERS),
            "DB_POOL_SIZE": str(POOL_SIZE),
            "APP_ENV": "production",
            **environ,
        },
        stdout=output,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    return process, f"http://127.0.0.1:{port}"


def stop(process: subprocess.Popen[bytes]) -> None:
    """End a command that was started, whatever state it is in."""
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(STOPPED_WITHIN)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


@contextmanager
def _running(
    name: str, web: str, environ: Mapping[str, str], path: str
) -> Iterator[tuple[str, int]]:
    with tempfile.TemporaryFile() as log:
        process, url = start(web, environ, log)
        try:
            if not _is_ready(process, url, path):
                log.seek(0)
                end = log.read().decode(errors="replace")[-2000:]
                raise NotReadyError(f"{name} does not answer:\n{end}")
            yield url, process.pid
        finally:
            stop(process)


def _is_ready(process: subprocess.Popen[bytes], url: str, path: str) -> bool:
    deadline = time.monotonic() + READY_WITHIN
    while process.poll() is None and time.monotonic() < deadline:
        try:
            with closing(Client(url)) as client:
                if client.request("GET", path).status == 200:
                    # Every worker is to have booted, and its feed to listen.
                    time.sleep(1.0)
                    return True
        except OSError:
            time.sleep(0.05)
    return False


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
