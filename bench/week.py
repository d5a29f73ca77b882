"""More appointments: the first read after a write, other lists meanwhile, and idling."""

from __future__ import annotations

import statistics
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from functools import partial
from http.client import HTTPConnection

from bench import database, load, report, servers
from bench.database import Options, Week
from bench.servers import PATHS, Server

WEEKS = (Week(5, 5, 10), Week(25, 10, 100), Week(125, 20, 100), Week(1000, 20, 100))
BOOKING_LISTS = ("/api/days", "/api/appointments")
PROBED_LISTS = ("/api/interviewers", "/api/days")
READS = 10
PUTS_A_SECOND = 20
GZIP_READERS = 10
PROBE_PAUSE_MS = 5
# Each of eight connections asks for one list, then waits: 20 requests a second.
IDLE_CONNECTIONS = 8
IDLE_PAUSE_MS = 400


def run(options: Options) -> None:
    """Measure each week; print the table, a column for each week."""
    columns = []
    for week in WEEKS:
        report.progress(f"week of {week.appointments:,} appointments")
        with options.database(week) as url, servers.ours(url) as server:
            figures = {
                **_first_reads(server, week),
                **_under_load(server, week, 3 * options.seconds),
                **_idle(server, 3 * options.seconds),
            }
        if options.node_url and options.node_database:
            database.fill(options.node_database, week)
            figures |= _first_reads(servers.node(options.node_url, None), None)
        columns.append(figures)
    header = ["appointments, half of them booked", *(f"{week.appointments:,}" for week in WEEKS)]
    report.columns("More appointments", header, columns)


def _first_reads(server: Server, week: Week | None) -> dict[str, str]:
    """Time the lists that show bookings. With a week, book before each read."""
    figures = {}
    with closing(server.connect()) as writer, closing(server.connect()) as reader:
        for path in BOOKING_LISTS:
            seconds = []
            for number in range(READS):
                if week:
                    _book(writer, number, week)
                started = time.perf_counter()
                reader.request("GET", path)
                reader.getresponse().read()
                seconds.append(time.perf_counter() - started)
            name = f"{server.name}: `GET {path}`{' just after a PUT' if week else ''}, ms"
            figures[name] = report.ms(statistics.median(seconds))
    return figures


def _book(writer: HTTPConnection, number: int, week: Week) -> bool:
    """Book a different appointment than last time, for another student."""
    appointment_id = 1 + number * 37 % week.appointments
    return load.book(writer, appointment_id, f"Student {time.monotonic_ns()}")


def _under_load(server: Server, week: Week, seconds: int) -> dict[str, str]:
    """Measure the other lists while appointments are booked and read continuously."""
    gzip = "Accept-Encoding: gzip"
    read = partial(load.wrk, server.url + BOOKING_LISTS[1], headers=gzip, connections=GZIP_READERS)
    probe = partial(load.wrk, server.url, seconds, "paced", PROBE_PAUSE_MS, connections=2)
    with ThreadPoolExecutor() as executor:
        failed = executor.submit(_keep_booking, server, week, seconds)
        probes = {path: executor.submit(probe, path) for path in PROBED_LISTS}
        readers = read(seconds)
    figures = {
        f"under load: `GET {path}`, p99 ms": report.ms(future.result().p99)
        for path, future in probes.items()
    }
    errors = failed.result() + readers.errors + sum(one.result().errors for one in probes.values())
    return figures | {
        "under load: responses to the ten readers, per second": report.number(readers.rate),
        "under load: errors": report.number(errors),
    }


def _keep_booking(server: Server, week: Week, seconds: int) -> int:
    """Book at a steady pace. Returns the number of failed bookings."""
    failed = 0
    started = time.monotonic()
    with closing(server.connect()) as writer:
        for number in range(seconds * PUTS_A_SECOND):
            time.sleep(max(0.0, started + number / PUTS_A_SECOND - time.monotonic()))
            failed += not _book(writer, number, week)
    return failed


def _idle(server: Server, seconds: int) -> dict[str, str]:
    """Measure an idle server: every response is a 304, so the cost is refreshing the cache."""
    read = partial(load.wrk, connections=IDLE_CONNECTIONS, headers="If-None-Match: *")
    arguments = ("paced", IDLE_PAUSE_MS, *PATHS)
    one = load.measure([server], seconds, lambda *_: [read(server.url, seconds, *arguments)])
    return {
        "reads only: CPU ms a second": report.ms(one.server_cpu * one.rate),
        "reads only: PostgreSQL's CPU ms a second": report.ms(one.postgres_cpu * one.rate),
    }
