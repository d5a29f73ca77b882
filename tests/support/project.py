"""The repository: where it is, and the commands of its Procfile."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
# The search path of programs, with those of this environment first.
PATH = f"{Path(sys.executable).parent}:{os.environ['PATH']}"

Run = Callable[..., subprocess.CompletedProcess[str]]


def procfile() -> dict[str, str]:
    """Return the Procfile's process types and their commands."""
    lines = (ROOT / "Procfile").read_text().splitlines()
    return {name: command.strip() for name, _, command in (line.partition(":") for line in lines)}


RELEASE = procfile()["release"]


def assert_failed(finished: subprocess.CompletedProcess[str]) -> None:
    """Check that a command failed with a message, not with a traceback or a secret."""
    assert finished.returncode != 0
    assert finished.stderr.strip()
    assert "Traceback" not in finished.stdout + finished.stderr
    assert "secret" not in finished.stdout + finished.stderr


def run(
    command: str, environ: dict[str, str], timeout: float = 20
) -> subprocess.CompletedProcess[str]:
    """Run a command of the project to its end, with these environment variables alone."""
    return subprocess.run(
        ["sh", "-c", f"exec {command}"],
        cwd=ROOT,
        env={"PATH": PATH, **environ},
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )


def release(environ: dict[str, str]) -> subprocess.Popen[str]:
    """Start the Procfile's `release:` command as Heroku does."""
    return subprocess.Popen(
        ["sh", "-c", f"exec {procfile()['release']}"],
        cwd=ROOT,
        env={"PATH": PATH, **environ},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def finish(process: subprocess.Popen[str]) -> tuple[int, str]:
    """Wait for the end; return the exit code and the output."""
    output, _ = process.communicate(timeout=60)
    return process.returncode, output
