"""A copy of the repository, and bin/dev running in it."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping
from pathlib import Path

from tests.support.project import ROOT
from tests.support.server import free_port
from tests.support.waiting import wait_for

NEEDED = ["app", "bin", "db", "docs", "examples", "gunicorn.conf.py", "pyproject.toml"]
NEEDED += ["requirements.txt", "requirements-dev.txt", ".python-version"]


class Checkout:
    """A copy of the repository whose .venv holds this environment's packages."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.mkdir(parents=True)
        for name in NEEDED:
            source = ROOT / name
            if source.is_dir():
                ignored = shutil.ignore_patterns("__pycache__")
                shutil.copytree(source, path / name, ignore=ignored)
            else:
                shutil.copy(source, path / name)
        python = path / ".venv" / "bin" / "python"
        python.parent.mkdir(parents=True)
        python.write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
        python.chmod(0o755)
        # What bin/venv.sh writes when it has installed everything.
        stamp = subprocess.run(
            ["sh", "-c", "cat requirements.txt requirements-dev.txt | cksum"],
            cwd=path,
            stdout=subprocess.PIPE,
            check=True,
        )
        for purpose in ("running", "testing"):
            (path / ".venv" / f"installed-for-{purpose}").write_bytes(stamp.stdout)

    def environ(self, **settings: str) -> dict[str, str]:
        """Return an environment with only these settings, and a temporary folder."""
        temporary = self.path.parent / "tmp"
        temporary.mkdir(exist_ok=True)
        kept = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
        ours = {"TMPDIR": str(temporary), "PORT": str(free_port()), "WEB_CONCURRENCY": "1"}
        return {**kept, **ours, **settings}

    def is_clean(self) -> bool:
        """Return whether no process of bin/dev is left, and nothing in the temporary folder."""
        return not self.processes() and not any((self.path.parent / "tmp").iterdir())

    def processes(self) -> list[str]:
        """Return the command lines of all processes that run in this copy or on its data."""
        import psutil  # noqa: PLC0415 -- this module must import without psutil

        found = []
        for process in psutil.process_iter():
            try:
                line = process.cmdline()
                if any(str(self.path) in part for part in (*line, process.cwd())):
                    found.append(" ".join(line))
            except psutil.Error:
                continue
        return found


class Dev:
    """bin/dev, and its output so far."""

    def __init__(
        self,
        checkout: Checkout,
        settings: Mapping[str, str] | None = None,
        *arguments: str,
        command: str = "bin/dev",
        cwd: Path | None = None,
    ) -> None:
        self.checkout = checkout
        self.environ = checkout.environ(**(settings or {}))
        self.api = f"http://localhost:{self.environ['PORT']}"
        self.process = subprocess.Popen(
            [command, *arguments],
            cwd=cwd or checkout.path,
            env=self.environ,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        self.output = ""
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout
        for line in self.process.stdout:
            self.output += line.decode(errors="replace")

    def wait_for(self, text: str, times: int = 1) -> None:
        """Wait until its output contains a text, `times` times."""
        wait_for(lambda: self.output.count(text) >= times or self.process.poll() is not None)
        assert self.output.count(text) >= times, self.output

    def wait_until_ready(self) -> Dev:
        self.wait_for("Ctrl-C\n\n")
        return self

    def value(self, name: str) -> str:
        """Return the value of a row of the summary."""
        (line,) = (line for line in self.output.splitlines() if line.startswith(f"  {name}  "))
        return line.removeprefix(f"  {name}").strip()

    def finish(self, timeout: float = 60) -> int:
        """Wait for its end. Returns the exit code."""
        self.process.wait(timeout)
        self._reader.join(30)
        return self.process.returncode

    def stop(self, signal_number: signal.Signals = signal.SIGTERM) -> int:
        self.process.send_signal(signal_number)
        return self.finish()

    def __enter__(self) -> Dev:
        return self

    def __exit__(self, *exception: object) -> None:
        if self.process.poll() is None:
            self.stop()
        if self.process.stdout:
            self.process.stdout.close()
