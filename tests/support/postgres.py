"""A PostgreSQL of a test's own, which the test may stop, restart and freeze."""

from __future__ import annotations

import os
import signal
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path

import psycopg2

from bin import embedded_postgres
from tests.support import processes, reaper, tools
from tests.support.database import connected
from tests.support.waiting import wait_for

STATISTICS_RESET = "pg_stat_get_bgwriter_stat_reset_time()"
# No test outlives its PostgreSQL, so nothing has to survive a crash of the machine.
QUICK = {"fsync": "off"}


@cache
def _new_data() -> Path:
    """Return the data of a new PostgreSQL, made once: to copy it is faster than initdb."""
    folder = Path(tempfile.mkdtemp(prefix="test-"))
    folder.chmod(0o755)
    # Deletes the folder when the session ends.
    reaper.watch(str(folder))
    with embedded_postgres.running(folder, settings=QUICK):
        pass
    return folder / "data"


class Postgres:
    """Its data and its socket are in one folder."""

    def __init__(self, folder: Path) -> None:
        tools.embedded_postgres_program("postgres")
        self.data = folder / "data"
        self.url = f"postgresql://postgres@/postgres?host={folder}&port=5432"
        self.folder = folder

    @contextmanager
    def running(self, settings: Mapping[str, str] | None = None) -> Iterator[Postgres]:
        """Run it on new data, with settings as in postgresql.conf. A restart keeps them."""
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        # With the owner, who is not root.
        subprocess.run(["cp", "-a", str(_new_data()), str(self.data)], check=True)
        with embedded_postgres.running(self.folder, self.folder, {**QUICK, **(settings or {})}):
            try:
                yield self
            finally:
                # After a restart it is no longer the process that was started here.
                if (self.data / "postmaster.pid").exists():
                    self.control("stop", "-m", "immediate")

    def control(self, *arguments: str) -> None:
        """Run pg_ctl and wait for what it does."""
        log = str(self.folder / "log")
        options = ["-w", "-D", str(self.data), "-l", log, *arguments]
        command = embedded_postgres.command("pg_ctl", self.data, *options)
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, cwd="/")
        if arguments[0] in {"start", "restart"}:
            # A new process, which no watchdog stops.
            reaper.watch(self._postmaster())

    def crash(self) -> None:
        """Kill a backend.

        The postmaster ends all other backends and recovers, without a restart.
        """
        with connected(self.url) as sql:
            ((backend, statistics_reset),) = sql(f"SELECT pg_backend_pid(), {STATISTICS_RESET}")
            os.kill(backend, signal.SIGKILL)

        def has_recovered() -> bool:
            with suppress(psycopg2.OperationalError), connected(self.url) as sql:
                return sql(f"SELECT {STATISTICS_RESET}") != [(statistics_reset,)]
            return False

        wait_for(has_recovered)

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """Freeze all its processes; the kernel still accepts connections."""
        postmaster = self._postmaster()
        with processes.frozen([postmaster, *processes.children(postmaster)]):
            yield

    def _postmaster(self) -> int:
        return int((self.data / "postmaster.pid").read_text().splitlines()[0])
