"""bin/dev stops everything it started, however it ends."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
import time
from urllib.request import urlopen

import pytest

from tests.support.development import Checkout, Dev
from tests.support.waiting import wait_for


def assert_stopped(dev: Dev) -> None:
    """Check that it ends without an error and leaves nothing behind."""
    assert dev.finish() == 0
    assert dev.checkout.is_clean()
    assert "Traceback" not in dev.output


@pytest.mark.usefixtures("data")
def test_sigquit_stops_everything(checkout: Checkout) -> None:
    with Dev(checkout) as dev:
        dev.wait_until_ready()
        assert len(checkout.processes()) > 4
        dev.process.send_signal(signal.SIGQUIT)
        assert_stopped(dev)


@pytest.mark.usefixtures("data")
def test_after_a_kill_it_starts_again_at_once_and_repeated_ctrl_c_stops_everything(
    checkout: Checkout,
) -> None:
    with Dev(checkout) as dev:
        dev.wait_until_ready().stop(signal.SIGKILL)
    with Dev(checkout) as dev:
        dev.wait_until_ready()
        with urlopen(f"{dev.api}/api/days", timeout=30) as response:
            assert response.status == 200
        for _ in range(5):
            # As the terminal does it: to the whole group.
            os.killpg(dev.process.pid, signal.SIGINT)
            time.sleep(0.05)
        assert_stopped(dev)


@pytest.mark.usefixtures("data")
def test_ctrl_c_in_the_first_second_leaves_nothing_and_breaks_nothing(checkout: Checkout) -> None:
    for after in (0.05, 0.3, 0.7):
        with Dev(checkout) as dev:
            time.sleep(after)
            os.killpg(dev.process.pid, signal.SIGINT)
            dev.finish()
        wait_for(checkout.is_clean)
        # Python itself shows a traceback in the moment before it runs a line of ours.
        assert str(checkout.path / "bin") not in dev.output
    with Dev(checkout) as dev:
        dev.wait_until_ready()
        dev.process.send_signal(signal.SIGTERM)
        assert_stopped(dev)


@pytest.mark.usefixtures("data")
def test_it_shows_colours_on_a_terminal_and_stops_when_the_terminal_closes(
    checkout: Checkout,
) -> None:
    environ = checkout.environ()
    process_id, terminal = pty.fork()
    if process_id == 0:
        os.chdir(checkout.path)
        os.execve("bin/dev", ["bin/dev"], environ)
    output = b""
    while b"Ctrl-C\r\n" not in output:
        output += os.read(terminal, 4096)
    with urlopen(f"http://localhost:{environ['PORT']}/api/days", timeout=30):
        pass
    while b"/api/days\r\n" not in output.partition(b"Ctrl-C\r\n")[2]:
        output += os.read(terminal, 4096)
    assert b"\x1b[32m200\x1b[0m" in output
    # Sends SIGHUP.
    os.close(terminal)
    _, status = os.waitpid(process_id, 0)
    assert os.WIFEXITED(status)
    wait_for(checkout.is_clean)


def test_a_command_that_ignores_its_signal_is_killed(checkout: Checkout) -> None:
    command = ["sh", "-c", "trap '' TERM; echo trapped; while :; do sleep 0.1; done"]
    script = (
        "import sys; from bin import watchdog; watchdog.STOP_TIMEOUT = 0.5;"
        f"sys.argv = ['watchdog', 'SIGTERM', '', *{command!r}];"
        "sys.exit(watchdog.main())"
    )
    process = subprocess.Popen(
        [checkout.path / ".venv/bin/python", "-c", script],
        cwd=checkout.path,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert process.stdin
    assert process.stdout
    assert process.stdout.readline() == b"trapped\n"
    process.stdin.close()
    assert process.wait(30) == 128 + signal.SIGKILL
    process.stdout.close()
    wait_for(lambda: checkout.processes() == [])
