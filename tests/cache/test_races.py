"""Many clients write and read at once, through two workers.

Meanwhile listeners, connections and workers are killed and the server is reloaded. Every
client reads after each of its writes. Then each appointment's history is checked: is
there an order of all requests, one after another, that explains all responses? Then
every read shows every write whose response was sent before the read began, nothing is
booked twice, and no client goes back in time.
"""

from __future__ import annotations

import http.client
import itertools
import json
import os
import random
import signal
import threading
import time
from collections import defaultdict
from collections.abc import Callable
from typing import Any, NamedTuple

import pytest

from app.cache.entry import MAX_AGE
from tests.support.database import KILL_HALF, Sql, refill
from tests.support.histories import Operation, is_linearizable
from tests.support.http import BOOKED, FREE
from tests.support.server import Server
from tests.support.threads import Threads
from tests.support.waiting import wait_for
from tests.support.websocket import KILL_LISTENERS

# Each on a day of its own, so that the day's free spots show whether it is booked.
APPOINTMENTS = range(101, 109)
CLIENTS = 16
# Seconds. The outcome of a request that takes longer is unknown.
TIMEOUT = 10.0

CONDITIONS = {"book free": FREE, "edit": BOOKED}


class Client:
    """Writes and reads, one request at a time, and notes what it saw of each appointment.

    Half of the clients keep their connection, and so their worker, as long as they can.
    """

    def __init__(self, server: Server, number: int) -> None:
        self._server = server
        self._number = number
        self._keeps_connection = number % 2 == 0
        self._connection: http.client.HTTPConnection | None = None
        self._random = random.Random(number)
        self.seen: dict[int, list[Operation]] = defaultdict(list)
        # Answered writes followed by an answered read.
        self.pairs = 0
        self.unknown = 0

    def run(self, is_over: threading.Event) -> None:
        for turn in itertools.count():
            if is_over.is_set():
                break
            appointment = self._random.choice(APPOINTMENTS)
            is_answered = self._write(appointment, f"client {self._number} turn {turn}")
            is_shown = self._random.choice([self._read, self._count])()
            self.pairs += is_answered and is_shown
        self._close()

    def _write(self, appointment: int, student: str) -> bool:
        kind = self._random.choice(["book", "book free", "book free", "edit", "cancel", "cancel"])
        body = {"interview": {"student": student, "interviewer": self._random.randint(1, 2)}}
        called_at = time.monotonic()
        status, _ = self._request(
            "DELETE" if kind == "cancel" else "PUT",
            f"/api/appointments/{appointment}",
            None if kind == "cancel" else body,
            CONDITIONS.get(kind, {}),
        )
        is_answered = status in {204, 412}
        outcome = status if is_answered else "unknown"
        value = None if kind == "cancel" else student
        self._note(appointment, kind, value, outcome, called_at)
        return is_answered

    def _read(self) -> bool:
        called_at = time.monotonic()
        status, listed = self._request("GET", "/api/appointments")
        for appointment in APPOINTMENTS if status == 200 else ():
            interview = listed[str(appointment)]["interview"]
            self._note(appointment, "read", None, interview and interview["student"], called_at)
        return status == 200

    def _count(self) -> bool:
        called_at = time.monotonic()
        status, days = self._request("GET", "/api/days")
        for day in days if status == 200 else ():
            if day["id"] in APPOINTMENTS:
                self._note(day["id"], "count", None, day["spots"] == 1, called_at)
        return status == 200

    def _note(
        self, appointment: int, kind: Any, value: Any, outcome: Any, called_at: float
    ) -> None:
        operation = Operation(kind, value, outcome, called_at, time.monotonic())
        self.seen[appointment].append(operation)
        self.unknown += outcome == "unknown"

    def _request(
        self, method: str, path: str, body: Any = None, headers: Any = None
    ) -> tuple[int, Any]:
        """Send a request; the status is 0 if no response came."""
        connection = self._connection or http.client.HTTPConnection(
            "127.0.0.1", self._server.port, timeout=TIMEOUT
        )
        self._connection = connection
        data = None if body is None else json.dumps(body)
        try:
            connection.request(
                method, path, data, {"Content-Type": "application/json", **(headers or {})}
            )
            response = connection.getresponse()
            content = response.read()
        except (OSError, http.client.HTTPException):
            self._close()
            return 0, None
        assert response.status in {200, 204, 412, 503}, content
        if response.will_close or not self._keeps_connection:
            self._close()
        return response.status, json.loads(content) if response.status == 200 else None

    def _close(self) -> None:
        if self._connection:
            self._connection.close()
        self._connection = None


class Disturbance(NamedTuple):
    """What happens repeatedly, and the seconds in between."""

    seconds: float
    act: Callable[[Server, Sql], object]


def kill_a_worker(server: Server, sql: Sql) -> None:
    if workers := server.workers:
        os.kill(random.choice(workers), signal.SIGKILL)


DISTURBANCES = {
    "listeners are killed": Disturbance(0.1, lambda _, sql: sql(KILL_LISTENERS)),
    "connections are killed": Disturbance(0.2, lambda _, sql: sql(KILL_HALF)),
    "workers are killed": Disturbance(0.7, kill_a_worker),
    "the server reloads": Disturbance(
        1.0, lambda server, _: server.process.send_signal(signal.SIGHUP)
    ),
}


@pytest.fixture
def server(shared: Server, sql: Sql) -> Server:
    """A server whose days 101 to 108 have one free appointment each."""
    refill(sql)
    for number in APPOINTMENTS:
        sql(f"INSERT INTO days VALUES ({number}, 'x')")
        sql(f"INSERT INTO appointments VALUES ({number}, '12pm', {number})")
    time.sleep(MAX_AGE)  # nothing older is served from the cache
    wait_for(lambda: len(shared.workers) == 2)
    return shared


def race(
    server: Server, sql: Sql, pairs: int, disturbances: list[Disturbance], pace: float = 1
) -> list[Client]:
    """Let clients write and read until `pairs` reads have followed a write."""
    clients = [Client(server, number) for number in range(CLIENTS)]
    with Threads() as threads:
        for client in clients:
            threads.start(client.run, threads.stopping)
        acts = [0] * len(disturbances)
        started = time.monotonic()
        while sum(client.pairs for client in clients) < pairs or min(acts, default=2) < 2:
            seconds = time.monotonic() - started
            assert seconds < 30 + pairs / 20
            for number, disturbance in enumerate(disturbances):
                if seconds > (acts[number] + 1) * disturbance.seconds * pace:
                    acts[number] += 1
                    disturbance.act(server, sql)
            threads.stopping.wait(0.02)
    return clients


def assert_linearizable(clients: list[Client]) -> None:
    for appointment in APPOINTMENTS:
        history = [operation for client in clients for operation in client.seen[appointment]]
        assert is_linearizable(history), sorted(history, key=lambda seen: seen.called_at)


def test_reads_and_writes_at_once_are_linearizable(server: Server, sql: Sql) -> None:
    clients = race(server, sql, 300, [])
    assert sum(client.unknown for client in clients) == 0
    assert_linearizable(clients)


@pytest.mark.parametrize("disturbance", DISTURBANCES)
def test_histories_are_linearizable_while_something_fails(
    server: Server, sql: Sql, disturbance: str
) -> None:
    assert_linearizable(race(server, sql, 200, [DISTURBANCES[disturbance]]))


@pytest.mark.slow
def test_histories_are_linearizable_whatever_happens(server: Server, sql: Sql) -> None:
    assert_linearizable(race(server, sql, 18_000, list(DISTURBANCES.values()), pace=4.5))
