"""More servers on one PostgreSQL, with 500 WebSockets in all."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from functools import partial

from bench import database, load, report, servers
from bench.audience import Audience
from bench.database import Options
from bench.load import Load
from bench.servers import Server

COUNTS = (1, 2, 4, 8)
SOCKETS = 500
BROADCASTS = 20
COUNT_CONNECTIONS = "SELECT count(*) - 1 FROM pg_stat_activity WHERE datname = current_database()"


def run(options: Options) -> None:
    """Measure each number of servers; print the table, a column for each."""
    header = ["servers of two workers", *map(str, COUNTS)]
    figures = [_measure(options, count) for count in COUNTS]
    report.columns("More servers", header, figures)


def _measure(options: Options, count: int) -> dict[str, str]:
    report.progress(f"{count} servers")
    with ExitStack() as stack:
        url = stack.enter_context(options.database())
        everyone = [stack.enter_context(servers.ours(url)) for _ in range(count)]
        audience = stack.enter_context(Audience())
        _put(everyone, 1)  # warms up
        unwatched = load.measure(everyone, options.seconds, _put)
        for number in range(SOCKETS):
            audience.join(everyone[number % count], 1)
        delays = [
            audience.time_broadcast(everyone[number % count], f"Student {number:04}")
            for number in range(BROADCASTS)
        ]
        watched = load.measure(everyone, options.seconds, _put)
        ((connections,),) = database.execute(url, COUNT_CONNECTIONS)
    figures: dict[str, str] = {}
    for condition, sample in (("no socket", unwatched), (f"{SOCKETS} sockets", watched)):
        figures |= {
            f"{condition}: PUT/s": report.number(sample.rate),
            f"{condition}: CPU µs a PUT": report.us(sample.server_cpu),
            f"{condition}: PostgreSQL's CPU µs a PUT": report.us(sample.postgres_cpu),
        }
    what = "from the response to the last socket's message"
    return figures | {
        f"{what}, median ms": report.ms(statistics.median(delays)),
        f"{what}, slowest of {BROADCASTS}, ms": report.ms(max(delays)),
        "connections to PostgreSQL": str(connections),
    }


def _put(everyone: Sequence[Server], seconds: int) -> list[Load]:
    """PUT to all servers at once."""
    put = partial(load.put, seconds=seconds, connections=load.CONNECTIONS // len(everyone))
    with ThreadPoolExecutor() as executor:
        return list(executor.map(put, everyone))
