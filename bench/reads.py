"""Reads: each GET, with as many requests as are answered, beside bare gunicorn and others."""

from __future__ import annotations

from collections import defaultdict
from contextlib import closing
from functools import partial

from bench import database, load, servers, table
from bench.client import Client
from bench.load import Sample
from bench.servers import Server
from bench.setting import Setting

# For each path, for each server by name, a sample a round.
Samples = dict[str, dict[str, list[Sample]]]


def run(setting: Setting) -> Samples:
    """Measure the same load on every server in alternating rounds; print the table."""
    with setting.database() as url:
        for database_url in [url, *(str(server.database_url) for server in setting.fillable)]:
            database.fill(database_url, database.TERM)
        with servers.ours(url) as ours:
            sizes = _sizes(ours)
            with servers.bare(sizes) as bare:
                everyone = [ours, bare, *setting.against]
                samples = _measure(setting, everyone)
    for path in servers.PATHS:
        title = f"GET {path}: {sizes[path]} bytes, {load.CONNECTIONS} connections, "
        table.compare(title + f"{servers.WORKERS} workers", "requests/s", samples[path])
    return samples


def _sizes(server: Server) -> dict[str, int]:
    with closing(Client(server.url)) as client:
        return {path: len(client.request("GET", path).body) for path in servers.PATHS}


def _measure(setting: Setting, everyone: list[Server]) -> Samples:
    for server in everyone:
        for path in servers.PATHS:
            load.read(server.url + path, load.WARM_UP_SECONDS)
    samples: Samples = {path: defaultdict(list) for path in servers.PATHS}
    for number in range(setting.rounds):
        # Nobody is always the first.
        turn = number % len(everyone)
        for path in servers.PATHS:
            for server in everyone[turn:] + everyone[:turn]:
                read = partial(load.read, server.url + path, setting.seconds)
                samples[path][server.name].append(load.measure(server, read))
    return samples
