"""WebSockets: what they weigh, how fast a change reaches them, what they cost other requests."""

from __future__ import annotations

import json
import statistics
from collections.abc import Sequence
from contextlib import closing
from functools import partial

from bench import database, load, procfs, servers, table
from bench.audience import Audience
from bench.servers import Server
from bench.setting import Setting

STEPS = (0, 500, 1000, 2000)
AUDIENCE = 500
CHANGES = 20
TOLD_WITHIN = 10.0
MB = 1e6


def run(setting: Setting) -> None:
    """Measure all three; print the tables."""
    with setting.database() as url:
        database.fill(url, database.TERM)
        _weigh(setting, url)
        _tell(url)
        _disturb(setting, url)


def _weigh(setting: Setting, url: str) -> None:
    rows = []
    with servers.ours(url) as ours:
        for server in [ours, *(other for other in setting.against if other.pid)]:
            weights = _weights(server)
            slope = (weights[-1] - weights[0]) / (STEPS[-1] - STEPS[0])
            rows.append(
                [
                    server.name,
                    *(f"{weight / MB:.0f}" for weight in weights),
                    f"{slope / 1e3:.1f}",
                    table.count(100 * MB / slope),
                ]
            )
    table.show(
        "Memory (PSS of all its processes) with so many open WebSockets",
        ["", *(f"{step:,}: MB" for step in STEPS), "kB each", "each 100 MB hold"],
        rows,
    )


def _weights(server: Server) -> list[int]:
    assert server.pid is not None
    weights = []
    with closing(Audience()) as audience:
        for step in STEPS:
            audience.join(server.url, step - len(audience))
            weights.append(procfs.memory_bytes(server.pid))
    return weights


def _tell(url: str) -> None:
    with (
        servers.ours(url) as one,
        servers.ours(url) as other,
        closing(Audience()) as audience,
    ):
        for server in (one, other):
            audience.join(server.url, AUDIENCE // 2)
        delays = [
            audience.time_until_told(
                server.url, _booking(server, token), token.encode(), TOLD_WITHIN
            )
            for number, server in enumerate([one, other] * (CHANGES // 2))
            if (token := f"Student {number:04}")
        ]
    table.show(
        f"From a PUT's 204 until the last of {AUDIENCE} WebSockets at two servers has the frame",
        ["", "median ms", "longest ms", "changes"],
        [
            [
                f"{servers.OURS}, twice",
                table.milliseconds(statistics.median(delays)),
                table.milliseconds(max(delays)),
                str(len(delays)),
            ]
        ],
    )


def _booking(server: Server, student: str) -> bytes:
    body = json.dumps({"interview": {"student": student, "interviewer": 1}})
    lines = [
        "PUT /api/appointments/1 HTTP/1.1",
        f"Host: {server.url.partition('//')[2]}",
        "Content-Type: application/json",
        f"Content-Length: {len(body)}",
    ]
    return ("\r\n".join(lines) + "\r\n\r\n" + body).encode()


def _disturb(setting: Setting, url: str) -> None:
    with (
        servers.ours(url) as quiet,
        servers.ours(url) as crowded,
        closing(Audience()) as audience,
    ):
        audience.join(crowded.url, STEPS[-1])
        with audience.kept_alive():
            samples: list[list[load.Sample]] = [[], []]
            for _ in range(setting.rounds):
                for server, of_server in zip((quiet, crowded), samples, strict=True):
                    read = partial(load.read, server.url + servers.PATHS[0], setting.seconds)
                    of_server.append(load.measure(server, read))
    table.show(
        f"GET {servers.PATHS[0]} meanwhile, {load.CONNECTIONS} connections, "
        f"median of {setting.rounds} rounds",
        ["", "requests/s", "p50 ms", "p99 ms"],
        [
            _row(f"with {sockets:,} WebSockets open", of_server)
            for sockets, of_server in zip((0, STEPS[-1]), samples, strict=True)
        ],
    )


def _row(name: str, samples: Sequence[load.Sample]) -> list[str]:
    middle = load.median(samples)
    return [
        name,
        table.count(middle.rate),
        table.milliseconds(middle.p50),
        table.milliseconds(middle.p99),
    ]
