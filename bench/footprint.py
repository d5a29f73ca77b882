"""Memory with open WebSockets, and the time to start."""

from __future__ import annotations

import statistics

from bench import report, servers
from bench.audience import Audience
from bench.database import Options

STEPS = (0, 500, 1000, 2000)
STARTS = 5


def run_sockets(options: Options) -> None:
    """Measure the memory; print the table."""
    report.progress("sockets")
    used = []
    with options.database() as url, servers.ours(url) as server, Audience() as audience:
        for before, step in zip((0, *STEPS), STEPS, strict=False):
            audience.join(server, step - before)
            used.append(servers.memory_bytes(server.pid or 0))
    cells = [report.number(size / 1e6) for size in used]
    cells.append(f"{(used[-1] - used[0]) / STEPS[-1] / 1e3:.1f}")
    header = ["open WebSockets", *(f"{step:,}" for step in STEPS), "kB each"]
    report.table("Memory of all processes", header, [["MB", *cells]])


def run_start(options: Options) -> None:
    """Measure the start; print the table."""
    report.progress("start")
    seconds = []
    with options.database() as url:
        for _ in range(STARTS):
            with servers.ours(url) as server:
                seconds.append(server.start_seconds)
    row = [report.ms(statistics.median(seconds)), report.ms(max(seconds))]
    header = ["", "median ms", f"longest of {STARTS}, ms"]
    report.table("Start", header, [["from exec until the first 200", *row]])
