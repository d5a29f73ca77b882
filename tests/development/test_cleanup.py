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
    [(signal.SIGTERM, 0), (signal.SIGINT, 1), (signal.SIGKILL, 1)],
    ids=["SIGTERM", "Ctrl-C", "SIGKILL"],
)
def test_no_process_and_no_folder_is_left(
    tmp_path: Path, short_path: Path, postgres: str, signal_number: signal.Signals, workers: int
) -> None:
    log = tmp_path / "processes"
    test = tmp_path / "test_it.py"
    test.write_text(TEST.format(log=str(log)))
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", f"-n{workers}"]
    # Loads the fixtures: this test file is outside tests/.
    command += ["-c", str(ROOT / "pyproject.toml"), "-p", "tests.conftest", str(test)]
    environ = {**os.environ, "TMPDIR": str(short_path), "TEST_DATABASE_URL": postgres}
    if signal_number == signal.SIGKILL:
        del environ["TEST_DATABASE_URL"]  # pytest starts a PostgreSQL, which must end too
    pytest_process = subprocess.Popen(
        command, cwd=ROOT, env=environ, stdout=subprocess.DEVNULL, start_new_session=True
    )
    pids = [int(pid) for pid in wait_for(lambda: log.exists() and log.read_text(), 60).split()]
    postmasters = short_path.glob("test-*/data/data/postmaster.pid")
    pids += [int(file.read_text().split()[0]) for file in postmasters]
    assert len(pids) == 3 + (signal_number == signal.SIGKILL)
    if signal_number == signal.SIGINT:
        os.killpg(pytest_process.pid, signal_number)  # as the terminal does it: to the whole group
    else:
        pytest_process.send_signal(signal_number)
    pytest_process.wait(30)
    wait_for(lambda: not any(processes.is_running(pid) for pid in pids))
    wait_for(lambda: not list(short_path.glob("test-*")))
