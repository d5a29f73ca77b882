"""One run of the server in development: gunicorn on localhost, with a readable log."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from bin import log_lines, pages, watchdog

# Seconds that a server may take to start.
READY_TIMEOUT = 15.0


class Server:
    """One run of gunicorn, which prints its log."""

    def __init__(
        self,
        environ: dict[str, str],
        settings: dict[str, Any],
        on_end: Callable[[Server], None],
    ) -> None:
        self._on_end = on_end
        # A worker has started when it logs "listening for changes", or "not listening …".
        self._workers_to_start = settings["WEB_CONCURRENCY"]
        self._workers_have_started = threading.Event()
        addresses = pages.loopback_addresses(settings["PORT"])
        binds = [f"--bind={_in_brackets(host)}:{port}" for host, port in addresses]
        self._process = watchdog.start(
            [sys.executable, "-m", "gunicorn", *binds, "app:create_app()"],
            stop_signal=signal.SIGTERM,
            output=subprocess.PIPE,
            environ=environ,
        )
        self._log = threading.Thread(target=self._show_log, daemon=True)
        self._log.start()

    def wait_until_ready(self) -> bool:
        """Wait until the workers have started, at most `READY_TIMEOUT` seconds.

        Returns whether gunicorn is still running.
        """
        deadline = time.monotonic() + READY_TIMEOUT
        while self._process.poll() is None and time.monotonic() < deadline:
            if self._workers_have_started.wait(0.05):
                break
        return self._process.poll() is None

    def stop(self) -> None:
        """Stop it and wait for its last line."""
        watchdog.stop(self._process)
        self._log.join(1.0)

    def _show_log(self) -> None:
        colour = sys.stdout.isatty() and "NO_COLOR" not in os.environ
        for line in self._process.stdout or ():
            text = line.decode(errors="replace").rstrip("\n")
            if shown := log_lines.render(text, colour=colour):
                say(shown)
            if log_lines.parse(text).get("msg", "").endswith("listening for changes"):
                self._workers_to_start -= 1
                if self._workers_to_start == 0:
                    self._workers_have_started.set()
        self._on_end(self)


def is_taken(address: tuple[str, int]) -> bool:
    """Return whether a process listens at an address of this machine."""
    family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
    with socket.socket(family) as probe:
        probe.settimeout(1)
        return probe.connect_ex(address) == 0


def say(text: str) -> None:
    """Print a line. Does nothing if the terminal is closed."""
    with suppress(OSError, ValueError):
        print(text, flush=True)


def _in_brackets(host: str) -> str:
    return f"[{host}]" if ":" in host else host
