"""Writes: PUT, beside pgbench that runs the very same statement without a server."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from functools import partial

from app.api.appointments import BOOK
from bench import database, load, servers, table
from bench.database import TERM
from bench.load import Load, Sample
from bench.servers import Server
from bench.setting import Setting

CONNECTIONS = servers.WORKERS * servers.POOL_SIZE

VALUES = f"""\
\\set slot random(1, {TERM.appointments})
\\set number random(1, 1000000)
\\set interviewer random(1, {TERM.interviewers})
"""
STATEMENT = load.as_pgbench(
    BOOK,
    {
        "appointment_id": ":slot",
        "student": "'Student :number'",
        "interviewer": ":interviewer",
        "only_booked": "false",
        "only_free": "false",
    },
)
# As app.database.statements sends it: `BEGIN` and the statement in one message, then `COMMIT`.
TRANSACTION = f"{VALUES}BEGIN\\; {STATEMENT}COMMIT;\n"
ALONE = f"{VALUES}{STATEMENT}"


def run(setting: Setting) -> None:
    """Measure in alternating rounds; print the table."""
    # A second database in which nobody listens: what PostgreSQL does when it is alone.
    with setting.database() as url, setting.database() as silent_url:
        fillable = setting.fillable
        for database_url in [url, silent_url, *(str(server.database_url) for server in fillable)]:
            database.fill(database_url, TERM)
        with servers.ours(url) as ours:
            silent = ours._replace(pid=None)
            runs: dict[str, tuple[Server, Callable[[], Load]]] = {
                **{
                    f"PUT, {server.name}": (server, partial(_put, setting, server))
                    for server in [ours, *fillable]
                },
                "pgbench, same transaction": (
                    silent,
                    partial(_pgbench, setting, silent_url, TRANSACTION),
                ),
                "pgbench, the same, two listen": (
                    ours,
                    partial(_pgbench, setting, url, TRANSACTION),
                ),
                "pgbench, statement alone": (silent, partial(_pgbench, setting, silent_url, ALONE)),
            }
            samples: dict[str, list[Sample]] = defaultdict(list)
            for number in range(setting.rounds):
                turn = number % len(runs)
                for name in [*list(runs)[turn:], *list(runs)[:turn]]:
                    samples[name].append(load.measure(*runs[name]))
    title = (
        f"Writes: {load.CONNECTIONS} connections to {servers.WORKERS} workers, "
        f"{CONNECTIONS} to PostgreSQL (pgbench too), {TERM.appointments} slots at random"
    )
    table.compare(title, "writes/s", samples)


def _put(setting: Setting, server: Server) -> Load:
    return load.write(server.url, setting.seconds, TERM.appointments, TERM.interviewers)


def _pgbench(setting: Setting, url: str, script: str) -> Load:
    return load.transactions(url, setting.seconds, script, CONNECTIONS)
