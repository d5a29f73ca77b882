"""The tests clean up after themselves, however pytest ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support import processes
from tests.support.project import ROOT
from tests.support.waiting import wait_for

TEST = """
import pathlib, time
def test_it(serve, app, short_path):
    server = serve()
    pids = [server.process.pid, *server.workers]
    pathlib.Path({log!r}).write_text(" ".join(map(str, pids)))
    time.sleep(60)
"""


@pytest.mark.parametrize(
    ("signal_number", "workers"),
    [(signal.SIGTERM, 0), (signal.SIGKILL, 0), (signal.SIGINT, 2), (signal.SIGKILL, 2)],
    ids=str,
)
def test_no_process_and_no_folder_is_left(
    tmp_path: Path, short_path: Path, signal_number: int, workers: int
) -> None:
    log = tmp_path / "processes"
    test = tmp_path / "test_it.py"
    test.write_text(TEST.format(log=str(log)))
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
    # The fixtures, for a test that is not in the folder of the tests.
    command += ["-c", str(ROOT / "pyproject.toml"), "-p", "tests.conftest", str(test)]
    pytest_process = subprocess.Popen(
        [*command, f"-n{workers}"],
        cwd=ROOT,
        env={**os.environ, "TMPDIR": str(short_path)},
        stdout=subprocess.DEVNULL,
    )
    pids = [int(pid) for pid in wait_for(lambda: log.exists() and log.read_text(), 60).split()]
    pytest_process.send_signal(signal_number)
    pytest_process.wait(30)
    wait_for(lambda: not any(processes.is_running(pid) for pid in pids))
    wait_for(lambda: not list(short_path.glob("test-*")))
