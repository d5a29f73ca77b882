"""The race: whether a read shows every write that was answered before it began.

Each writer has a day to itself, books or cancels a slot of it, and once that is
answered has two readers look: at the slot, and at the day's free spots. Every
connection goes to whichever worker accepts it, and to another one now and then.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from typing import Any, NamedTuple

from app.database.change_listener import SELECT_TRIGGERS
from app.live.broadcaster import SELECT_INTERVIEWS
from bench import database, procfs, servers, table
from bench.client import Client
from bench.database import Week
from bench.servers import Server
from bench.setting import Setting

WRITERS = 16
READERS = 2 * WRITERS
RECONNECT_ONCE_IN = 20
GIVE_UP_AFTER = 30.0
# Seconds between two of each.
LISTENER_LIVES = 0.3
WORKER_LIVES = 2.0
CONFIGURATION_LIVES = 5.0

# A listener is known by what it has asked last.
KILL_LISTENERS = """
    SELECT pg_terminate_backend(pid)
    FROM pg_stat_activity
    WHERE datname = current_database() AND query = ANY(%(asked_last)s)
"""
ASKED_BY_LISTENERS = {"asked_last": [SELECT_TRIGGERS, SELECT_INTERVIEWS]}


class Disturbances(NamedTuple):
    """What happens meanwhile."""

    kill_listeners: bool = False
    kill_workers: bool = False
    reload: bool = False


class Score:
    """What was found; counted by all threads."""

    def __init__(self, checks: int) -> None:
        self._lock = threading.Lock()
        self._left = checks
        self.counts = {"checks": 0, "stale": 0, "asked again": 0}

    def take(self) -> bool:
        """Whether there is another check to do."""
        with self._lock:
            self._left -= 1
            return self._left >= 0

    def add(self, name: str, count: int = 1) -> None:
        """Count something."""
        with self._lock:
            self.counts[name] = self.counts.get(name, 0) + count


class Racer:
    """A client that asks until it is answered, on a new connection now and then."""

    def __init__(self, url: str, score: Score) -> None:
        self._url = url
        self._client = Client(url, timeout=10)
        self._score = score

    def request(self, method: str, path: str, body: object = None) -> bytes:
        """Send a request until it succeeds; our writes may be repeated."""
        if random.randrange(RECONNECT_ONCE_IN) == 0:
            self._client.close()
        deadline = time.monotonic() + GIVE_UP_AFTER
        while True:
            try:
                answer = self._client.request(method, path, body)
                if answer.status in {200, 204}:
                    return answer.body
                complaint = f"{answer.status}: {answer.body.decode()}"
            except OSError as error:
                complaint = str(error)
            if time.monotonic() > deadline:
                raise TimeoutError(f"{method} {path}: {complaint}")
            self._score.add("asked again")
            time.sleep(0.01)


def run(setting: Setting, checks: int, disturbances: Disturbances) -> None:
    """Race; print the table and what was stale. Exits with 1 where anything was."""
    score = Score(checks)
    week = Week(days=WRITERS, slots=5, interviewers=10, available=5)
    with setting.database() as url:
        database.fill(url, week)
        with servers.ours(url) as server:
            started = time.monotonic()
            with _disturbed(server, disturbances, score), ThreadPoolExecutor(READERS) as readers:
                with ThreadPoolExecutor(WRITERS) as writers:
                    races = [
                        writers.submit(_race, server, day, week, readers, score)
                        for day in range(WRITERS)
                    ]
                for race in races:
                    race.result()
            seconds = time.monotonic() - started
    table.show(
        f"The race: {WRITERS} writers, {READERS} readers, {servers.WORKERS} workers",
        ["", *score.counts, "seconds"],
        [[servers.OURS, *(f"{count:,}" for count in score.counts.values()), f"{seconds:.1f}"]],
    )
    if score.counts["stale"]:
        sys.exit(1)


def _race(server: Server, day: int, week: Week, readers: ThreadPoolExecutor, score: Score) -> None:
    writer, days, appointments = (Racer(server.url, score) for _ in range(3))
    first = 1 + day * week.slots
    booked = {slot: slot % 2 == 0 for slot in range(first, first + week.slots)}
    while score.take():
        slot = random.choice(list(booked))
        path = f"/api/appointments/{slot}"
        interview = None
        if booked[slot] and random.random() < 0.5:
            writer.request("DELETE", path)
        else:
            interview = {"student": f"Student {random.getrandbits(64)}", "interviewer": 1}
            writer.request("PUT", path, {"interview": interview})
        booked[slot] = interview is not None
        score.add("checks")
        spots = list(booked.values()).count(False)
        looks = [
            readers.submit(_look, appointments, "/api/appointments", [str(slot), "interview"]),
            readers.submit(_look, days, "/api/days", [day, "spots"]),
        ]
        for look, expected in zip(looks, [interview, spots], strict=True):
            shown = look.result()
            if shown != expected:
                score.add("stale")
                print(f"stale: slot {slot} shows {shown!r}, not {expected!r}")


def _look(reader: Racer, path: str, keys: list[Any]) -> Any:
    value = json.loads(reader.request("GET", path))
    for key in keys:
        value = value[key]
    return value


@contextmanager
def _disturbed(server: Server, disturbances: Disturbances, score: Score) -> Iterator[None]:
    assert server.pid is not None
    pid, database_url = server.pid, str(server.database_url)

    def kill_listeners() -> int:
        return len(database.execute(database_url, KILL_LISTENERS, ASKED_BY_LISTENERS))

    def kill_worker() -> int:
        workers = procfs.children(pid)
        for worker in random.sample(workers, min(1, len(workers))):
            with suppress(ProcessLookupError):
                os.kill(worker, signal.SIGKILL)
        return 1

    def reload() -> int:
        os.kill(pid, signal.SIGHUP)
        return 1

    is_over = threading.Event()

    def repeat(name: str, disturb: Callable[[], int], seconds: float) -> None:
        while not is_over.wait(seconds):
            score.add(name, disturb())

    with ExitStack() as stack:
        for is_on, *disturbance in (
            (disturbances.kill_listeners, "listeners killed", kill_listeners, LISTENER_LIVES),
            (disturbances.kill_workers, "workers killed", kill_worker, WORKER_LIVES),
            (disturbances.reload, "reloads", reload, CONFIGURATION_LIVES),
        ):
            if is_on:
                thread = threading.Thread(target=repeat, args=disturbance, daemon=True)
                thread.start()
                stack.callback(thread.join)
        stack.callback(is_over.set)
        yield
