"""The server process, started with the Procfile's own `web:` line, and TCP ports."""

from __future__ import annotations

import itertools
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from tests.support import processes, reaper
from tests.support.project import PATH, ROOT, procfile
from tests.support.waiting import wait_for


class Server:
    """A server process: the Procfile's `web:` command, or another, in a session of its own."""

    def __init__(self, environ: Mapping[str, str], log: Path, command: str | None = None) -> None:
        self.port = int(environ["PORT"])
        self.url = f"http://127.0.0.1:{self.port}"
        self._log = log
        self._count = int(environ.get("WEB_CONCURRENCY", 2))
        with log.open("wb") as output:
            self.process = subprocess.Popen(
                ["sh", "-c", f"exec {command or procfile()['web']}"],
                cwd=ROOT,
                env={"PATH": PATH, **environ},
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        reaper.watch(self.process.pid)

    @property
    def log(self) -> str:
        """Return its log so far."""
        return self._log.read_text()

    @property
    def workers(self) -> list[int]:
        """The worker processes' ids."""
        return processes.children(self.process.pid)

    @property
    def boots(self) -> int:
        """The number of workers that have booted since the start of the server.

        A worker logs that it is listening for changes, or why not, when it boots. It counts
        again if its change listener connects again.
        """
        return self.log.count("listening for changes")

    def wait_for_boots(self, count: int) -> None:
        """Wait until as many workers have booted since the start of the server."""
        wait_for(lambda: self.process.poll() is not None or self.boots >= count)
        if self.process.poll() is not None:
            pytest.fail(f"the server ended while it was starting:\n{self.log}")

    def wait_until_workers_boot(self) -> None:
        """Wait until every worker has booted."""
        self.wait_for_boots(self._count)

    def stop(self, signal_number: int = signal.SIGTERM) -> float:
        """Send a signal, wait for the end, and return the seconds it took."""
        started = time.monotonic()
        if self.process.poll() is None:
            self.process.send_signal(signal_number)
            try:
                self.process.wait(30)
            finally:
                if self.process.poll() is None:
                    os.killpg(self.process.pid, signal.SIGKILL)
                    self.process.wait()
        reaper.forget(self.process.pid)
        return time.monotonic() - started


Serve = Callable[..., Server]


@contextmanager
def serving(environ: Mapping[str, str], folder: Path) -> Iterator[Serve]:
    """Return a function that starts servers; they stop at the end of the block.

    Keyword arguments override settings (None unsets one); `command` runs another command
    than the Procfile's. The logs are written to `folder`.
    """
    with ExitStack() as stack:
        count = itertools.count()

        def start(command: str | None = None, **overrides: str | None) -> Server:
            settings = {**environ, "PORT": str(free_port()), **overrides}
            given = {name: value for name, value in settings.items() if value is not None}
            server = Server(given, folder / f"server-{next(count)}.log", command)
            stack.callback(server.stop)
            server.wait_until_workers_boot()
            return server

        yield start


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def accepts(port: int) -> bool:
    """Return whether a process listens on a port."""
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0
