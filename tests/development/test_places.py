"""bin/dev works in every folder, from every folder, and changes nothing outside its own."""

from __future__ import annotations

import os
import pwd
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.development import Checkout, Dev
from tests.support.project import ROOT


@pytest.mark.usefixtures("data")
def test_a_checkout_moved_to_a_folder_of_any_name_runs_through_a_symlink_with_cdpath_set(
    checkout: Checkout, tmp_path: Path
) -> None:
    home = tmp_path / "home"
    (home / ".venv").mkdir(parents=True)
    (home / "bin").mkdir()
    checkout.path = checkout.path.rename(tmp_path / 'it\'s "a" & %20;$HOME, ü')
    (home / "link").symlink_to(checkout.path / "bin" / "dev")
    settings = {"HOME": str(home), "CDPATH": str(home)}
    with Dev(checkout, settings, command="./link", cwd=home) as dev:
        dev.wait_until_ready()
    assert sorted(path.name for path in home.iterdir()) == [".venv", "bin", "link"]


@pytest.mark.parametrize("script", ["dev", "test", "venv.sh"])
def test_the_scripts_use_nothing_that_a_move_breaks(script: str) -> None:
    # The programs that pip makes in .venv/bin have the old path in their first line.
    used = (ROOT / "bin" / script).read_text().split(".venv/bin/")[1:]
    assert all(rest.startswith("python") for rest in used)


@pytest.fixture
def shared_folder() -> Iterator[Path]:
    """A folder that every user may enter, unlike pytest's own."""
    with tempfile.TemporaryDirectory(dir="/tmp") as name:
        folder = Path(name)
        folder.chmod(0o711)
        yield folder


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_root_continues_as_the_owner_of_the_checkout(shared_folder: Path) -> None:
    account = pwd.getpwnam("daemon")
    shown = "id -u; id -G; echo $HOME $USER ${STAY_ROOT:-}"
    checkout = shared_folder / "checkout"
    checkout.mkdir()
    os.chown(checkout, account.pw_uid, account.pw_gid)

    def run() -> list[str]:
        command = [sys.executable, str(ROOT / "bin/as_owner.py"), "/bin/sh", "-c", shown]
        return subprocess.check_output(command, cwd=checkout, text=True).split()

    said = run()
    assert said[0] == str(account.pw_uid)
    assert "0" not in said
    assert said[-2:] == [account.pw_dir, account.pw_name]
    # In a folder of root's own, the owner could not even start.
    shared_folder.chmod(0o700)
    said = run()
    assert (said[0], said[-1]) == ("0", "1")
