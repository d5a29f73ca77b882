"""Run a command, and stop it when the process that started it has ended.

The watchdog is a separate process in its own session, so no signal of the terminal reaches
it or the command. The process that started it holds the other end of its standard input.
When that process ends, even by SIGKILL, the system closes that end. The watchdog then sends
the command its signal to stop, and SIGKILL if the command ignores it.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import IO

# Seconds for a command to stop, and more seconds for its watchdog.
STOP_TIMEOUT = 10.0
MARGIN = 2.0


def start(
    command: Sequence[str],
    *,
    stop_signal: signal.Signals,
    output: int | IO[bytes],
    environ: Mapping[str, str],
    folder: str = "",
    keep_open: Sequence[int] = (),
) -> subprocess.Popen[bytes]:
    """Start a command under a watchdog.

    `stop_signal` stops the command, `output` receives its output, and `folder` is deleted
    after it ends. The watchdog inherits the file descriptors in `keep_open`; the command does
    not.
    """
    return subprocess.Popen(
        [sys.executable, "-S", __file__, stop_signal.name, folder, *command],
        stdin=subprocess.PIPE,
        stdout=output,
        stderr=subprocess.STDOUT,
        env=dict(environ),
        start_new_session=True,
        pass_fds=keep_open,
    )


def stop(watchdog: subprocess.Popen[bytes]) -> None:
    """Stop the command of a watchdog, and wait until both have ended."""
    if watchdog.stdin:
        watchdog.stdin.close()
    try:
        watchdog.wait(STOP_TIMEOUT + MARGIN)
    except subprocess.TimeoutExpired:
        watchdog.kill()


def main() -> int:
    """Run the command given as arguments, as its watchdog. Returns its exit code."""
    stop_signal, folder = signal.Signals[sys.argv[1]], sys.argv[2]
    command = subprocess.Popen(sys.argv[3:], stdin=subprocess.DEVNULL, start_new_session=True)

    def kill() -> None:
        with suppress(ProcessLookupError):
            os.killpg(command.pid, signal.SIGKILL)

    def stop_command(*_: object) -> None:
        command.send_signal(stop_signal)
        timer = threading.Timer(STOP_TIMEOUT, kill)
        timer.daemon = True
        timer.start()

    def wait_for_the_end_of_input() -> None:
        while os.read(sys.stdin.fileno(), 4096):
            pass
        stop_command()

    for signal_number in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM):
        signal.signal(signal_number, stop_command)
    threading.Thread(target=wait_for_the_end_of_input, daemon=True).start()
    exit_code = command.wait()
    if folder:
        shutil.rmtree(folder, ignore_errors=True)
    # Like a shell: 128 plus the signal's number.
    return exit_code if exit_code >= 0 else 128 - exit_code


if __name__ == "__main__":
    sys.exit(main())
