"""Runs a command, and stops it when the process that started it is gone.

    python watchdog.py SIGNAL FOLDER COMMAND...

The starter holds the other end of standard input. However it dies, SIGKILL
included, the system closes that end. The command then gets SIGNAL, and SIGKILL if
it is still there after `GRACE` seconds. FOLDER is deleted after the command has
ended; it may be empty. The watchdog should have a session of its own, so that no
signal of the terminal reaches the command.
"""

import os
import shutil
import signal
import subprocess
import sys
import threading
from contextlib import suppress

GRACE = 10.0


def main() -> int:
    """Run the command. Returns its exit code."""
    stop_signal = signal.Signals[sys.argv[1]]
    folder = sys.argv[2]
    command = subprocess.Popen(sys.argv[3:], stdin=subprocess.DEVNULL, start_new_session=True)

    def kill() -> None:
        with suppress(ProcessLookupError):
            os.killpg(command.pid, signal.SIGKILL)

    def stop(*_: object) -> None:
        command.send_signal(stop_signal)
        timer = threading.Timer(GRACE, kill)
        timer.daemon = True
        timer.start()

    def wait_for_the_end_of_input() -> None:
        while os.read(sys.stdin.fileno(), 4096):
            pass
        stop()

    for signal_number in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM):
        signal.signal(signal_number, stop)
    threading.Thread(target=wait_for_the_end_of_input, daemon=True).start()
    exit_code = command.wait()
    if folder:
        shutil.rmtree(folder, ignore_errors=True)
    return exit_code if exit_code >= 0 else 128 - exit_code


if __name__ == "__main__":
    sys.exit(main())
