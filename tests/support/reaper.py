"""End the processes of the tests and delete their files, even if pytest is killed.

If pytest is killed, fixtures cannot run. So a second process reads from a pipe. The operating
system closes the pipe when pytest ends, and the process cleans up. It imports nothing of the
project.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from contextlib import suppress

# Seconds that a process has to stop before it is killed.
GRACE = 3.0

_reaper: subprocess.Popen[str] | None = None


def watch(item: int | str) -> None:
    """Remember a folder, or a process that leads its process group."""
    _tell(f"+{item}")


def forget(item: int | str) -> None:
    """Forget a process that has ended, or a folder that was deleted."""
    _tell(f"-{item}")


def _tell(line: str) -> None:
    global _reaper  # noqa: PLW0603 -- one for the whole session, started when needed
    if _reaper is None:
        _reaper = subprocess.Popen(
            [sys.executable, "-S", __file__],
            stdin=subprocess.PIPE,
            # Ctrl-C reaches pytest only.
            start_new_session=True,
            text=True,
            bufsize=1,
        )
    assert _reaper.stdin
    _reaper.stdin.write(f"{line}\n")
    _reaper.stdin.flush()


def stop() -> None:
    """Wait until everything is cleaned up. Call this when the session ends."""
    global _reaper  # noqa: PLW0603
    if _reaper is not None:
        assert _reaper.stdin
        _reaper.stdin.close()
        _reaper.wait()
        _reaper = None


def main() -> None:
    """Run as the reaper: read standard input until it ends, then clean up."""
    left: dict[str, None] = {}
    for line in sys.stdin:
        item = line[1:].rstrip("\n")
        if line[0] == "+":
            left[item] = None
        else:
            left.pop(item, None)
    groups = [int(item) for item in left if item.isdigit()]
    # "Stop at once" to gunicorn and to PostgreSQL alike.
    _signal(groups, signal.SIGQUIT)
    deadline = time.monotonic() + GRACE
    while groups and time.monotonic() < deadline:
        groups = [group for group in groups if _is_alive(group)]
        time.sleep(0.05)
    _signal(groups, signal.SIGKILL)
    for item in left:
        if not item.isdigit():
            shutil.rmtree(item, ignore_errors=True)


def _signal(groups: list[int], signal_number: int) -> None:
    for group in groups:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(group, signal_number)


def _is_alive(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except (ProcessLookupError, PermissionError):
        return False
    return True


if __name__ == "__main__":
    main()
