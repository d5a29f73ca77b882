"""Load: runs wrk and counts the CPU time that it costs the server and PostgreSQL."""

from __future__ import annotations

import json
import math
import statistics
import subprocess
import sys
from collections.abc import Callable, Sequence
from http.client import HTTPConnection
from pathlib import Path
from typing import NamedTuple

from bench.database import SMALL, Options
from bench.servers import Server, cpu_seconds

CONNECTIONS = 16

# What Chromium sends with a fetch() from another origin, besides Host: 13 headers.
BROWSER_HEADERS = """\
Connection: keep-alive
sec-ch-ua-platform: "Linux"
User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 Chrome/150.0.0.0 Safari/537.36
Accept: application/json, text/plain, */*
sec-ch-ua: "Chromium";v="150", "Not)A;Brand";v="8"
sec-ch-ua-mobile: ?0
Origin: http://localhost:8000
Sec-Fetch-Site: cross-site
Sec-Fetch-Mode: cors
Sec-Fetch-Dest: empty
Referer: http://localhost:8000/
Accept-Encoding: gzip, deflate, br, zstd
Accept-Language: en-US,en;q=0.9"""


class Load(NamedTuple):
    """What wrk measured: times in seconds, and CPU time per request."""

    requests: float
    rate: float
    p50: float
    p99: float
    errors: float
    server_cpu: float = math.nan
    postgres_cpu: float = math.nan


def wrk(
    url: str, seconds: int, *arguments: object, connections: int = CONNECTIONS, headers: str = ""
) -> Load:
    """Run wrk with the arguments of wrk.lua."""
    command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s"]
    command += [f"-H{line}" for line in headers.splitlines()]
    command += ["-s", str(Path(__file__).with_name("wrk.lua")), url, "--", *map(str, arguments)]
    try:
        finished = subprocess.run(command, check=True, capture_output=True, text=True)
    except FileNotFoundError:
        sys.exit("wrk is missing. apt install wrk, brew install wrk, https://github.com/wg/wrk")
    return Load(**json.loads(finished.stdout.splitlines()[-1]))


def get(server: Server, seconds: int, path: str, headers: str = "") -> Load:
    """GET a list as fast as the server responds."""
    return wrk(server.url + path, seconds, headers=headers)


def put(server: Server, seconds: int, connections: int = CONNECTIONS) -> Load:
    """Book random appointments of the small week as fast as the server responds."""
    arguments = ("put", SMALL.appointments, SMALL.interviewers)
    return wrk(server.url, seconds, *arguments, connections=connections)


def book(connection: HTTPConnection, appointment_id: int, student: str) -> bool:
    """Book one appointment. Returns whether the response is 204."""
    body = json.dumps({"interview": {"student": student, "interviewer": 1}})
    path = f"/api/appointments/{appointment_id}"
    connection.request("PUT", path, body, {"Content-Type": "application/json"})
    response = connection.getresponse()
    response.read()
    return response.status == 204


def measure(
    servers: Sequence[Server], seconds: int, run: Callable[[Sequence[Server], int], Sequence[Load]]
) -> Load:
    """Run loads on servers and count the CPU time of these and their PostgreSQL."""
    for server in servers:
        if server.log:
            server.log.truncate(0)  # at full load it grows by megabytes a second

    def spent() -> list[float]:
        postgres = cpu_seconds(servers[0].postgres_pid)
        return [sum(cpu_seconds(server.pid) for server in servers), postgres]

    before = spent()
    loads = run(servers, seconds)
    after = spent()
    requests, rate, _, _, errors, *_ = (sum(column) for column in zip(*loads, strict=True))
    cpu = [(end - start) / max(1, requests) for start, end in zip(before, after, strict=True)]
    slowest = max(loads, key=lambda load: load.p99)
    return Load(requests, rate, slowest.p50, slowest.p99, errors, *cpu)


def alternate(
    options: Options, servers: Sequence[Server], run: Callable[[Server, int], Load]
) -> dict[str, list[Load]]:
    """Measure the same load on all servers in alternating rounds: a list for each server."""

    def run_on_each(measured: Sequence[Server], seconds: int) -> list[Load]:
        return [run(server, seconds) for server in measured]

    loads: dict[str, list[Load]] = {server.name: [] for server in servers}
    for number in range(options.rounds):
        # The order changes, so that no server is always the first.
        turn = number % len(servers)
        for server in [*servers[turn:], *servers[:turn]]:
            loads[server.name].append(measure([server], options.seconds, run_on_each))
    return loads


def median(loads: Sequence[Load]) -> Load:
    """Return the median of each figure."""
    return Load(*(statistics.median(column) for column in zip(*loads, strict=True)))
