"""The embedded PostgreSQL.

It runs on any path, gives other users no access, and serves one owner at a time.
"""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import psycopg2
import pytest
from psycopg2.extensions import parse_dsn

from app.database.connection import connect
from bin import embedded_postgres
from bin.embedded_postgres import NotStarted, running
from tests.support.project import ROOT
from tests.support.waiting import wait_for

CopyData = Callable[[Path], None]


def ask(url: str, statement: str) -> str:
    with closing(connect({"dsn": url})) as connection, connection.cursor() as cursor:
        cursor.execute(statement)
        row = cursor.fetchone()
        return str(row[0]) if row else ""


def permissions(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_it_runs_in_a_folder_of_any_name_keeps_its_data_and_opens_nothing_to_others(
    tmp_path: Path,
) -> None:
    outer = tmp_path / 'it\'s "a" & %20;$HOME, ü'
    outer.mkdir(mode=0o700)
    folder = outer / "data"
    before = permissions(tmp_path), permissions(outer)
    with running(folder) as url:
        ask(url, "CREATE TABLE kept AS SELECT 'kept' AS word; SELECT 1")
        with pytest.raises(NotStarted, match=rf"process {os.getpid()} already uses"):
            running(folder).__enter__()
    with running(folder) as url:
        assert ask(url, "SELECT word FROM kept") == "kept"
    assert [permissions(path) for path in (folder, folder / "data")] == [0o700, 0o700]
    assert (permissions(tmp_path), permissions(outer)) == before


@pytest.mark.parametrize("name", ["long" * 30, "co,mma 'quote' %20"], ids=["long", "odd"])
def test_it_runs_with_any_temporary_folder_and_leaves_nothing(
    tmp_path: Path, copy_data: CopyData, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    copy_data(tmp_path / "data")
    temporary = tmp_path / name
    temporary.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(temporary))
    with running(tmp_path / "data") as url:
        sockets = Path(parse_dsn(url)["host"])
        assert permissions(sockets) == 0o700
        assert ask(url, "SELECT 1") == "1"
    assert not sockets.exists()
    assert list(temporary.iterdir()) == []


def _link_or_copy(source: str, target: str) -> str:
    try:
        os.link(source, target)
    except OSError:  # another disk
        shutil.copy2(source, target)
    return target


@pytest.mark.skipif(os.geteuid() != 0, reason="only root runs PostgreSQL as another user")
def test_root_may_keep_everything_in_a_folder_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = embedded_postgres.program("postgres").parent.parent.parent
    outer = tmp_path / "outer"
    outer.mkdir(mode=0o700)
    # The programs find their libraries in the folder next to the package's.
    for name in (package.name, f"{package.name}.libs"):
        shutil.copytree(
            package.with_name(name), outer / name, symlinks=True, copy_function=_link_or_copy
        )
    programs = outer / embedded_postgres.program("postgres").parent.relative_to(package.parent)
    monkeypatch.setattr("bin.embedded_postgres.program", lambda name: programs / name)
    with running(outer / "data") as url:
        assert ask(url, "SELECT 1") == "1"
    assert permissions(outer) == 0o700


def test_settings_of_the_environment_do_not_reach_it(
    tmp_path: Path, copy_data: CopyData, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy_data(tmp_path / "data")
    for name, value in [("PGPORT", "1"), ("PGHOST", "203.0.113.1"), ("PGDATA", "/x")]:
        monkeypatch.setenv(name, value)
    with running(tmp_path / "data", settings={"work_mem": "1MB"}) as url:
        assert parse_dsn(url)["port"] == "5432"
        assert ask(url, "SHOW work_mem") == "1MB"
        assert ask(url, "SHOW listen_addresses") == ""


def test_an_interrupted_initdb_is_begun_again(tmp_path: Path) -> None:
    unfinished = tmp_path / "unfinished"
    unfinished.mkdir()
    (unfinished / "PG_VERSION").write_text("18\n")
    with running(tmp_path) as url:
        assert ask(url, "SELECT 1") == "1"
    assert not unfinished.exists()


def test_data_that_cannot_be_used_is_reported_with_a_message(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir(mode=0o700)
    with pytest.raises(NotStarted, match="PostgreSQL stopped"):
        running(tmp_path).__enter__()


def test_it_ends_when_its_starter_is_killed(tmp_path: Path, copy_data: CopyData) -> None:
    data = tmp_path / "data"
    copy_data(data)
    script = (
        "import os, signal; from pathlib import Path; from bin.embedded_postgres import running\n"
        f"with running(Path({str(data)!r})) as url:\n"
        "    print(url, flush=True); os.kill(os.getpid(), signal.SIGKILL)"
    )
    killed = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=False
    )
    url = killed.stdout.strip()
    sockets = Path(parse_dsn(url)["host"])
    wait_for(lambda: not sockets.exists())
    with pytest.raises(psycopg2.OperationalError):
        connect({"dsn": url})
    with running(data) as url:
        assert ask(url, "SELECT 1") == "1"
