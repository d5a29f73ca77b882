"""Four clients at full speed on the server's own cores keep nobody else waiting.

They attack the real server from processes of their own. Meanwhile well-behaved clients
of every worker read, book and listen, and what it costs them is measured.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.fairness.attackers import ATTACKS
from tests.fairness.measures import (
    Bystanders,
    Cost,
    attackers,
    memory_of,
    must_keep_promises,
)
from tests.support.server import Server, free_port

# One of each kind, with at most 70 connections a client. The others run with `-m slow`.
EVERY_TIME = [
    "protocol pings",
    "pings in many sockets",
    "tiny chunks to PUT",
    "tiny chunks in many connections",
    "trailers",
    "huge bodies to GET",
    "unfinished heads",
    "short unfinished heads",
    "many header lines",
    "entity tags",
    "fewer subprotocols",
    "responses that nobody reads",
]
MUCH_MEMORY = 30.0  # megabytes
# These keep a worker busy in different places while it stops.
WHILE_STOPPING = ["protocol pings", "tiny chunks to PUT", "short unfinished heads"]
WHILE_STOPPING_SLOW = ["pipelined reads", "reads on many connections", "huge bodies to GET"]


def slow_unless(names: list[str], is_quick: Callable[[str], bool]) -> list[Any]:
    """Return parameters; those that are not quick are marked slow."""
    return [pytest.param(name, marks=[pytest.mark.slow] * (not is_quick(name))) for name in names]


class SharedServer:
    """One server for many attacks, and a new one after an attack that succeeded."""

    def __init__(self, environ: dict[str, str], folder: Path) -> None:
        self._environ = environ
        self._folder = folder
        self._server: Server | None = None
        self.memory = 0.0

    def get(self) -> Server:
        """A server that has survived all attacks so far."""
        if self._server is None:
            environ = {**self._environ, "PORT": str(free_port())}
            self._server = Server(environ, self._folder / f"{environ['PORT']}.log")
            self._server.wait_until_workers_boot()
            self.memory = memory_of(self._server)
        return self._server

    def discard(self) -> None:
        """Stop it, if there is one."""
        if self._server:
            self._server.stop()
            self._server = None


@pytest.fixture(scope="module")
def shared(
    tables: None, database_url: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[SharedServer]:
    environ = {"DATABASE_URL": database_url, "APP_ENV": "test"}
    shared = SharedServer(environ, tmp_path_factory.mktemp("servers"))
    yield shared
    shared.discard()


@pytest.mark.parametrize("attack", slow_unless(list(ATTACKS), EVERY_TIME.__contains__))
def test_an_attack_keeps_nobody_waiting(shared: SharedServer, attack: str) -> None:
    def measure() -> Cost:
        try:
            with (
                closing(Bystanders(shared.get(), shared.memory)) as bystanders,
                attackers(shared.get(), attack),
                bystanders.measuring() as cost,
            ):
                time.sleep(1.5)
        except BaseException:
            shared.discard()
            raise
        # A process keeps memory that it has freed, and the next attack would be blamed for it.
        if not cost.keeps_promises() or cost.memory > MUCH_MEMORY:
            shared.discard()
        return cost

    must_keep_promises(measure)


@pytest.mark.parametrize(
    "attack", slow_unless(WHILE_STOPPING + WHILE_STOPPING_SLOW, WHILE_STOPPING.__contains__)
)
def test_the_server_stops_in_time_while_it_is_attacked(shared: SharedServer, attack: str) -> None:
    def measure() -> Cost:
        try:
            with (
                closing(Bystanders(shared.get(), shared.memory)) as bystanders,
                attackers(shared.get(), attack),
            ):
                with bystanders.measuring() as cost:
                    time.sleep(0.5)
                bystanders.stop()
        finally:
            shared.discard()
        return cost

    must_keep_promises(measure)
