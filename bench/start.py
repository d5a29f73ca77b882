"""Cold start: from exec to the first 200, and what it is made of."""

from __future__ import annotations

import re
import statistics
import subprocess
import sys
import threading
import time
from collections import Counter
from contextlib import closing
from typing import IO, NamedTuple

from app.config import ROOT
from bench import database, servers, table
from bench.client import Client
from bench.setting import Setting

STARTS = 5
SHOWN = 8
# What gunicorn imports, then the worker class and the application.
IMPORTS = "import gunicorn.app.wsgiapp, app.server.worker, app"


class Start(NamedTuple):
    """One start: seconds from exec until gunicorn listens, until the first 200; of that the GET."""

    listening: float
    answered: float
    first_get: float


def run(setting: Setting) -> None:
    """Measure; print the tables."""
    with setting.database() as url:
        database.fill(url, database.TERM)
        starts = [_start(url) for _ in range(STARTS)]
    interpreter = statistics.median(_time_interpreter() for _ in range(STARTS))
    listening = statistics.median(start.listening for start in starts)
    answered = statistics.median(start.answered for start in starts)
    first_get = statistics.median(start.first_get for start in starts)
    rows = [
        ("exec to the first 200 of GET /api/days", answered),
        ("  the interpreter", interpreter),
        ("  gunicorn and its configuration: until it listens", listening - interpreter),
        ("  a worker: fork, the application's imports", answered - listening - first_get),
        ("  the first GET: a connection to PostgreSQL, the query", first_get),
    ]
    table.show(
        f"Cold start, median of {STARTS}; files in the page cache, modules compiled",
        ["", "ms"],
        [[name, table.milliseconds(seconds)] for name, seconds in rows],
    )
    imports = _time_imports()
    table.show(
        "Imports of master and worker, by package (python -X importtime, which slows them)",
        ["", "ms"],
        [[name, table.milliseconds(seconds)] for name, seconds in imports],
    )


def _start(url: str) -> Start:
    started = time.perf_counter()
    process, server_url = servers.start(servers.command(), {"DATABASE_URL": url}, subprocess.PIPE)
    assert process.stdout is not None
    lines: list[tuple[float, str]] = []
    reader = threading.Thread(target=_note, args=(process.stdout, lines), daemon=True)
    reader.start()
    try:
        answered = _first_answer(process, server_url) - started
    finally:
        servers.stop(process)
        reader.join()
    listening = next(at for at, line in lines if "Listening at" in line) - started
    # The log line of a request says how long it took the worker.
    requests = (re.search(r"status=200 .*\bms=([0-9.]+)", line) for _, line in lines)
    first_get = next(float(match[1]) for match in requests if match) / 1e3
    return Start(listening, answered, first_get)


def _note(output: IO[bytes], lines: list[tuple[float, str]]) -> None:
    for line in output:
        lines.append((time.perf_counter(), line.decode(errors="replace")))  # noqa: PERF401


def _first_answer(process: subprocess.Popen[bytes], url: str) -> float:
    with closing(Client(url)) as client:
        while process.poll() is None:
            try:
                if client.request("GET", servers.PATHS[0]).status == 200:
                    return time.perf_counter()
            except ConnectionError:
                pass
            time.sleep(0.001)
    raise servers.NotReadyError("the server ended at once")


def _time_interpreter() -> float:
    started = time.perf_counter()
    subprocess.run([sys.executable, "-c", "pass"], check=True)
    return time.perf_counter() - started


def _time_imports() -> list[tuple[str, float]]:
    finished = subprocess.run(
        [sys.executable, "-X", "importtime", "-c", IMPORTS],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    )
    packages: Counter[str] = Counter()
    for line in finished.stderr.splitlines():
        if match := re.match(r"import time: +(\d+) \| +\d+ \| +([\w.]+)", line):
            name = match[2].partition(".")[0]
            is_standard = name in sys.stdlib_module_names
            packages["standard library" if is_standard else name] += int(match[1])
    shown = [(name, microseconds / 1e6) for name, microseconds in packages.most_common(SHOWN)]
    rest = packages.total() / 1e6 - sum(seconds for _, seconds in shown)
    return [*shown, ("all others", rest)]
