"""A PostgreSQL of a test's own, which the test may stop, restart and freeze."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psycopg2

from bin import embedded_postgres
from tests.support import reaper, tools
from tests.support.database import connected
from tests.support.processes import children, frozen
from tests.support.waiting import wait_for

STATISTICS_RESET = "pg_stat_get_bgwriter_stat_reset_time()"


class Postgres:
    """A PostgreSQL of a test's own, with its data and its socket in one folder."""

    def __init__(self, folder: Path) -> None:
        tools.embedded_postgres_program("postgres")
        self.data = folder / "data"
        self.url = f"postgresql://postgres@/postgres?host={folder}&port=5432"
        self.folder = folder

    @contextmanager
    def running(self) -> Iterator[Postgres]:
        with embedded_postgres.running(self.folder, self.folder):
            try:
                yield self
            finally:
                # After a restart it is no longer the process that was started here.
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
        """Kill a backend: PostgreSQL ends all others, recovers, and does not start again."""
        with connected(self.url) as sql:
            ((backend, statistics_reset),) = sql(f"SELECT pg_backend_pid(), {STATISTICS_RESET}")
            os.kill(backend, signal.SIGKILL)

        def has_recovered() -> bool:
            with suppress(psycopg2.OperationalError), connected(self.url) as sql:
                return sql(f"SELECT {STATISTICS_RESET}") != [(statistics_reset,)]
            return False

        wait_for(has_recovered)

    @contextmanager
    def silent(self) -> Iterator[None]:
        """Freeze all its processes; the kernel still accepts connections."""
        postmaster = self._postmaster()
        with frozen([postmaster, *children(postmaster)]):
            yield

    def _postmaster(self) -> int:
        return int((self.data / "postmaster.pid").read_text().splitlines()[0])
