"""Reads and writes at full speed, beside the peers, in alternating rounds."""

from __future__ import annotations

from contextlib import ExitStack, closing
from functools import partial

from bench import database, load, report, servers
from bench.database import SMALL, Options
from bench.load import Load
from bench.servers import PATHS, Server

KINDS = {"no headers": "", "a browser's 13 headers": load.BROWSER_HEADERS}

# The loads by headers, request and server, one for each round.
Reads = dict[str, dict[str, dict[str, list[Load]]]]


def run_reads(options: Options) -> Reads:
    """Measure every GET; print a table for each kind of headers."""
    loads: Reads = {kind: {} for kind in KINDS}
    with ExitStack() as stack:
        url = stack.enter_context(options.database())
        ours = stack.enter_context(servers.ours(url))
        sizes = " ".join(f"{path}={_size(ours, path)}" for path in PATHS)
        peers = (
            servers.running("uvicorn, fixed body", servers.UVICORN, SIZES=sizes),
            servers.running("gunicorn, fixed body", servers.GUNICORN, SIZES=sizes),
            servers.running("FastAPI + asyncpg", servers.FASTAPI, DATABASE_URL=url),
        )
        everyone = [ours, *map(stack.enter_context, peers)]
        if options.node_url:
            everyone.append(servers.node(options.node_url, options.node_database))
        if options.node_database:
            database.fill(options.node_database, SMALL)
        for path in PATHS:
            for server in everyone:
                load.get(server, 1, path)  # warms up
            for kind, headers in KINDS.items():
                report.progress(f"GET {path}, {kind}")
                read = partial(load.get, path=path, headers=headers)
                loads[kind][f"GET {path}"] = load.alternate(options, everyone, read)
    for kind in KINDS:
        report.comparison(f"Reads, {kind}", loads[kind])
    return loads


def run_writes(options: Options) -> None:
    """Measure PUT; print the table."""
    fastapi = partial(servers.running, command=servers.FASTAPI)
    # The other database has the same triggers, but no server listens to their notifications.
    with (
        options.database() as url,
        options.database() as other_url,
        servers.ours(url) as ours,
        fastapi("FastAPI + asyncpg, same database", DATABASE_URL=url) as peer,
        fastapi("FastAPI + asyncpg, no listeners", DATABASE_URL=other_url) as other_peer,
    ):
        report.progress("PUT")
        everyone = (ours, peer, other_peer)
        for server in everyone:
            load.put(server, 1)  # warms up
        loads = load.alternate(options, everyone, load.put)
    report.comparison("Writes", {"PUT /api/appointments/<id>": loads})


def _size(server: Server, path: str) -> int:
    with closing(server.connect()) as connection:
        connection.request("GET", path)
        return len(connection.getresponse().read())
