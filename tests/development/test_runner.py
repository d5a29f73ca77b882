"""bin/test, and the installation of what bin/dev and bin/test need."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest

from tests.support.development import Checkout
from tests.support.project import ROOT


@pytest.fixture
def python_log(checkout: Checkout) -> Path:
    """Replaces ruff and mypy by nothing; returns the log of what Python was asked to run."""
    log = checkout.path / "log"
    python = checkout.path / ".venv" / "bin" / "python"
    python.write_text(
        python.read_text().replace(
            "exec", f'echo "$*" >>"{log}"\ncase $2 in ruff | mypy) exit 0 ;; esac\nexec'
        )
    )
    return log


def run_tests(checkout: Checkout, test: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    folder = checkout.path / "tests"
    folder.mkdir()
    (folder / "test_it.py").write_text(test)
    return subprocess.run(
        ["bin/test", *arguments],
        cwd=checkout.path,
        env=checkout.environ(),
        capture_output=True,
        text=True,
        check=False,
    )


def test_it_checks_with_ruff_mypy_and_pytest_in_parallel(
    checkout: Checkout, python_log: Path
) -> None:
    test = "def test_it(worker_id): assert worker_id != 'master'\n"
    finished = run_tests(checkout, test, "-n1", "--cov", "-k", "it")
    assert finished.returncode == 0, finished.stdout + finished.stderr
    commands = [line for line in python_log.read_text().splitlines() if line.startswith("-m")]
    assert [line.split()[1] for line in commands] == ["ruff", "ruff", "mypy", "pytest"]
    assert commands[-1].endswith("-k it")
    assert "TOTAL" in finished.stdout  # the coverage


@pytest.mark.usefixtures("python_log")
@pytest.mark.parametrize("outcome", ["pass", "assert False", "import os; os.kill(os.getppid(), 2)"])
def test_nothing_is_left_in_the_temporary_folder(checkout: Checkout, outcome: str) -> None:
    test = f"""
import tempfile
def test_it(tmp_path):
    (tmp_path / "file").write_text("x")
    tempfile.mkstemp()
    {outcome}
"""
    finished = run_tests(checkout, test, "-n0")
    assert (finished.returncode == 0) == (outcome == "pass")
    assert checkout.is_clean()


def test_a_failing_check_fails_it(checkout: Checkout, python_log: Path) -> None:
    python = checkout.path / ".venv" / "bin" / "python"
    python.write_text(
        python.read_text().replace("ruff | mypy) exit 0", "ruff) exit 0 ;; mypy) exit 1")
    )
    finished = run_tests(checkout, "def test_it(): pass\n")
    assert finished.returncode == 1
    assert python_log.read_text().splitlines()[-1] == "-m mypy"


def test_an_old_python_is_refused_with_what_to_do(checkout: Checkout, tmp_path: Path) -> None:
    (checkout.path / ".venv" / "bin" / "python").unlink()
    old = tmp_path / "old python"
    old.write_text("#!/bin/sh\nexit 1\n")
    old.chmod(0o755)
    finished = subprocess.run(
        ["bin/dev"],
        cwd=checkout.path,
        env=checkout.environ(PYTHON=str(old)),
        capture_output=True,
        text=True,
        check=False,
    )
    assert finished.returncode == 1
    assert "Python 3.10 or newer is needed" in finished.stderr
    assert str(old) in finished.stderr


def test_what_bin_dev_installs_is_pinned_and_listed_first() -> None:
    script = (ROOT / "bin" / "venv.sh").read_text()
    match = re.search(r"-c requirements-dev.txt (.*) ;;", script)
    assert match
    packages = match[1].split()
    pinned = (ROOT / "requirements-dev.txt").read_text()
    assert all(f"\n{package}==" in f"\n{pinned}" for package in packages)
    required = (ROOT / "requirements-dev.in").read_text()
    listed = required.split("installs only these three packages from this file.\n")[1]
    assert listed.splitlines()[:3] == packages


def test_an_image_gets_no_secrets_and_no_other_machines_files() -> None:
    ignored = (ROOT / ".dockerignore").read_text().splitlines()
    assert {".env", ".env.*", ".venv", ".postgres", ".git"} <= set(ignored)


def test_the_scripts_are_executable() -> None:
    assert all(os.access(ROOT / path, os.X_OK) for path in ("bin/dev", "bin/test", ".ci/run"))
