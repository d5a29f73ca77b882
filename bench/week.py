"""A thousand days: the two lists that depend on bookings, just after one was changed."""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence
from contextlib import closing

from bench import database, servers, table
from bench.client import Client
from bench.database import Week
from bench.servers import Server
from bench.setting import Setting

WEEKS = (Week(250, 20, 100, 5), Week(1000, 20, 100, 5))
PATHS = ("/api/days", "/api/appointments")
CHANGES = 10


def run(setting: Setting) -> None:
    """Measure; print the table."""
    rows = []
    for week in WEEKS:
        with setting.database() as url:
            database.fill(url, week)
            with servers.ours(url) as ours:
                medians = {ours.name: _medians(ours, week)}
        for server in setting.fillable:
            database.fill(str(server.database_url), week)
            medians[server.name] = _medians(server, week)
        rows += [_row(week, name, medians) for name in medians]
    table.show(
        f"Just after a booking, median of {CHANGES}: 20 slots a day, half of them booked",
        ["", "days", *(f"{path} ms" for path in PATHS), *("ours ×" for _ in PATHS)],
        rows,
    )


def _row(week: Week, name: str, medians: dict[str, list[float]]) -> Sequence[str]:
    ours = medians[servers.OURS]
    return [
        name,
        table.count(week.days),
        *(table.milliseconds(seconds) for seconds in medians[name]),
        *(table.ratio(its / own) for its, own in zip(medians[name], ours, strict=True)),
    ]


def _medians(server: Server, week: Week) -> list[float]:
    """The seconds of each path's GET after a booking."""
    seconds: dict[str, list[float]] = {path: [] for path in PATHS}
    with closing(Client(server.url)) as writer, closing(Client(server.url)) as reader:
        for number in range(CHANGES + 1):
            for path in PATHS:
                writer.book(1 + number * 37 % week.appointments, f"Student {time.monotonic_ns()}")
                seconds[path].append(reader.timed_get(path))
    # The first of each warms up.
    return [statistics.median(seconds[path][1:]) for path in PATHS]
