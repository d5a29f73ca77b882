"""Measure this server beside its peers. The report goes to stdout, as Markdown.

It starts what it needs and stops it: PostgreSQL, this server, the peers in
bench/peers. Nothing leaves the machine. It needs wrk and, in an environment with
requirements-dev.txt:

    pip install -r bench/requirements.txt -r bench/peers/requirements.txt
    python bench/run.py --docs
    python bench/run.py reads week --quick

The Node server is measured if you start it. What is stored in the database that
you name IS REPLACED:

    createdb bench_node && psql -d bench_node -f db/schema/create.sql
    PGDATABASE=bench_node PORT=8303 node src/index.js &
    python bench/run.py --node http://127.0.0.1:8303 --node-database postgresql:///bench_node
"""

from __future__ import annotations

import argparse
import os
import platform
import resource
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from app.config import ROOT
from bench import chart, database, footprint, growth, report, throughput, week
from bench.database import Options
from bench.throughput import Reads
from bin import embedded_postgres

DOCS = ROOT / "docs"
PARTS: dict[str, Callable[[Options], Reads | None]] = {
    "reads": throughput.run_reads,
    "writes": throughput.run_writes,
    "week": week.run,
    "growth": growth.run,
    "sockets": footprint.run_sockets,
    "start": footprint.run_start,
}


def main() -> None:
    """Run the selected parts, one after the other."""
    arguments = _arguments()
    _, most_files = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most_files, most_files))
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    started = time.monotonic()
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder, ExitStack() as stack:
        url = arguments.postgres or stack.enter_context(
            embedded_postgres.running(Path(folder) / "data")
        )
        rounds, seconds = (1, 1) if arguments.quick else (5, 2)
        options = Options(rounds, seconds, url, arguments.node, arguments.node_database)
        ((version,),) = database.execute(url, "SHOW server_version")
        machine = {
            "cores": f"{os.cpu_count()} ({platform.system()} {platform.machine()})",
            "load before the start": f"{os.getloadavg()[0]:.1f}",
            "Python, PostgreSQL": f"{platform.python_version()}, {version}",
            "alternating rounds": f"{rounds} of {seconds} s; the tables show medians",
        }
        report.table("Computer", ["", ""], [list(pair) for pair in machine.items()])
        for name in arguments.parts or PARTS:
            reads = PARTS[name](options)
            if reads and arguments.docs:
                chart.draw(reads, DOCS / "reads.svg")
    if arguments.docs:
        report.update(DOCS / "scaling.md")
    report.progress(f"finished after {time.monotonic() - started:.0f} s")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("parts", nargs="*", metavar="PART", help=f"only these parts: {', '.join(PARTS)}")
    add("--docs", action="store_true", help="put tables and picture into docs/scaling.md")
    add("--quick", action="store_true", help="one round of one second each")
    add("--postgres", metavar="URL", help="use this PostgreSQL instead of the embedded one")
    add("--node", metavar="URL", help="where the Node server runs")
    add("--node-database", metavar="URL", help="its database, WHOSE CONTENTS ARE REPLACED")
    arguments = parser.parse_args()
    if unknown := set(arguments.parts) - PARTS.keys():
        parser.error(f"unknown part: {', '.join(unknown)}; parts are {', '.join(PARTS)}")
    return arguments


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit("Interrupted.")
