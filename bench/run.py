"""Measures this server and what it is to be compared with, and prints tables.

It starts what it needs and stops it: a PostgreSQL, this server by the Procfile's
line, bare gunicorn with constant answers. Nothing leaves the machine.

    .venv/bin/python bench/run.py
    .venv/bin/python bench/run.py --only reads --rounds 5 --seconds 10 --svg docs/reads.svg
    .venv/bin/python bench/run.py --only race --checks 20000 --kill-listeners

`BENCH_DATABASE_URL` names a PostgreSQL to use, where it may make and drop databases of
its own; without it, the embedded one is started.

Any other server of the same API is measured too, say the Node original. Give it a
database that nobody needs, with its own tables: what is in there is replaced, so that
all have the same data. Without `--against-database` it is measured with the data it
has, and left out of the writes and the week.

    createdb bench_node && psql -d bench_node -f <its db/schema/create.sql>
    PGDATABASE=bench_node PORT=8303 node src/index.js &
    .venv/bin/python bench/run.py --against node=http://127.0.0.1:8303 \\
        --against-database node=postgresql:///bench_node
"""

from __future__ import annotations

import argparse
import os
import platform
import resource
import shutil
import signal
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from types import FrameType

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from bench import (
    chart,
    database,
    load,
    procfs,
    race,
    reads,
    servers,
    sockets,
    start,
    week,
    writes,
)
from bench.setting import Setting

PARTS = ("reads", "writes", "sockets", "start", "week", "race")
NEED_WRK = {"reads", "writes", "sockets"}


def main() -> None:
    """Run the parts asked for, one after the other."""
    options = _options()
    parts = [part for part in PARTS if part in (options.only or PARTS)]
    if not procfs.PROC.joinpath("self/stat").exists():
        sys.exit("CPU time and memory are read from /proc, which this system lacks: use Linux.")
    if NEED_WRK.intersection(parts) and not shutil.which("wrk"):
        sys.exit(load.GET_WRK + "Or choose a part that does without: --only start|week|race")
    _, most_files = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most_files, most_files))
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        with (
            tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder,
            database.cluster(Path(folder) / "data") as cluster_url,
        ):
            others = _against(options)
            setting = Setting(options.rounds, options.seconds, cluster_url, others)
            print(_machine(cluster_url), flush=True)
            for part in parts:
                _run(part, setting, options)
    except servers.NotReadyError as error:
        sys.exit(str(error))
    except KeyboardInterrupt:
        sys.exit("Interrupted.")


def _run(part: str, setting: Setting, options: argparse.Namespace) -> None:
    match part:
        case "reads":
            samples = reads.run(setting)
            if options.svg:
                subtitle = f"{load.CONNECTIONS} connections, {servers.WORKERS} workers, " + (
                    f"median of {setting.rounds} rounds of {setting.seconds:g} s"
                )
                options.svg.write_text(chart.draw(samples, subtitle), encoding="utf-8")
                print(f"Drawn: {options.svg}")
        case "writes":
            writes.run(setting)
        case "sockets":
            sockets.run(setting)
        case "start":
            start.run(setting)
        case "week":
            week.run(setting)
        case "race":
            meanwhile = race.Disturbances(
                options.kill_listeners, options.kill_workers, options.reload
            )
            race.run(setting, options.checks, meanwhile)


def _machine(cluster_url: str) -> str:
    (version,) = database.execute(cluster_url, "SHOW server_version")[0]
    load_average = os.getloadavg()[0]
    return (
        f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores, "
        f"load {load_average:.1f} before the start; "
        f"Python {platform.python_version()}, PostgreSQL {version}"
    )


def _against(options: argparse.Namespace) -> list[servers.Server]:
    urls = dict(options.against)
    pids, databases = dict(options.against_pid), dict(options.against_database)
    if unknown := (pids.keys() | databases.keys()) - urls.keys():
        sys.exit(f"Say where it is, too: --against {min(unknown)}=URL")
    return [
        servers.given(name, url, int(pids[name]) if name in pids else None, databases.get(name))
        for name, url in urls.items()
    ]


def _options() -> argparse.Namespace:
    description, _, rest = str(__doc__).partition("\n\n")
    parser = argparse.ArgumentParser(
        description=description,
        epilog=rest,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--only", action="append", choices=PARTS, help="only this part; may be repeated")
    add("--rounds", type=int, default=5, help="of which the median is shown (5)")
    add("--seconds", type=float, default=10, help="each round of a load, in whole seconds (10)")
    add("--svg", type=Path, metavar="FILE", help="draw the reads, as docs/reads.svg shows them")
    for name, value, purpose in (
        ("--against", "NAME=URL", "another server to measure; may be repeated"),
        ("--against-pid", "NAME=PID", "its process, where the one that listens is not it"),
        ("--against-database", "NAME=URL", "its PostgreSQL; what is stored there IS REPLACED"),
    ):
        add(name, action="append", type=_pair, default=[], metavar=value, help=purpose)
    add("--checks", type=int, default=2000, help="the race: writes to look after (2,000)")
    add("--kill-listeners", action="store_true", help="the race: end the listeners' backends")
    add("--kill-workers", action="store_true", help="the race: SIGKILL workers")
    add("--reload", action="store_true", help="the race: SIGHUP to gunicorn")
    return parser.parse_args()


def _pair(text: str) -> Sequence[str]:
    name, separator, value = text.partition("=")
    if not (name and separator and value):
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=VALUE")
    return name, value


def _interrupt(signal_number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    main()
