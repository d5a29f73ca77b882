"""What many clients see at once can be explained by some order of their requests.

The clients read, book, edit and cancel at random through two workers while
PostgreSQL's backends are killed; then each slot's history is checked.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from app import create_app
from app.database import schema
from tests.support.histories import Operation, is_linearizable
from tests.support.server import Server

requests = pytest.importorskip("requests")

CONDITION = {"book free": {"If-None-Match": "*"}, "edit": {"If-Match": "*"}}


def op(kind: Any, value: Any, outcome: Any, called_at: float, returned_at: float) -> Operation:
    return Operation(kind, value, outcome, called_at, returned_at)


@pytest.mark.parametrize(
    "history",
    [
        pytest.param([op("book", "A", 204, 0, 1), op("read", None, None, 2, 3)], id="stale read"),
        pytest.param(
            [op("book free", "A", 204, 0, 2), op("book free", "B", 204, 1, 3)], id="booked twice"
        ),
        pytest.param(
            [op("book free", "A", 412, 0, 1), op("read", None, None, 2, 3)], id="refused for nobody"
        ),
        pytest.param(
            [
                op("book", "A", 204, 0, 1),
                op("book", "B", 204, 2, 9),
                op("read", None, "B", 3, 4),
                op("read", None, "A", 5, 6),
            ],
            id="the past after the present",
        ),
        pytest.param(
            [op("book", "A", 204, 0, 1), op("edit", "B", 412, 2, 3)],
            id="edit refused though booked",
        ),
        pytest.param(
            [op("book", "A", "unknown", 5, 6), op("read", None, "A", 1, 2)], id="seen before it was"
        ),
    ],
)
def test_the_checker_finds_what_is_wrong(history: list[Operation]) -> None:
    assert not is_linearizable(history)


@pytest.mark.parametrize(
    "history",
    [
        pytest.param([op("book", "A", 204, 0, 5), op("read", None, None, 1, 2)], id="not yet"),
        pytest.param([op("book", "A", 204, 0, 5), op("read", None, "A", 1, 2)], id="already"),
        pytest.param(
            [op("book", "A", "unknown", 0, 1), op("read", None, None, 2, 3)], id="lost for good"
        ),
        pytest.param(
            [
                op("book", "A", "unknown", 0, 1),
                op("read", None, None, 2, 3),
                op("read", None, "A", 4, 5),
            ],
            id="late",
        ),
        pytest.param(
            [op("cancel", None, 204, 0, 4), op("book free", "A", 412, 1, 2)], id="just before"
        ),
    ],
)
def test_the_checker_accepts_what_can_have_been(history: list[Operation]) -> None:
    initial = "B" if history[0].kind == "cancel" else None
    assert is_linearizable(history, initial)


def test_the_checker_decides_also_where_the_end_of_many_is_unknown() -> None:
    history = []
    for moment in range(0, 300, 3):
        student = f"student {moment}"
        history += [
            op("book free", student, "unknown", moment, moment + 1),
            op("cancel", None, "unknown", moment, moment + 1),
            op("edit", f"another {moment}", 204, moment + 1, moment + 2),
            op("read", None, f"another {moment}", moment + 2, moment + 3),
        ]
    assert is_linearizable(history)
    history.append(op("read", None, "another 0", 400, 401))
    assert not is_linearizable(history)


class Client:
    """Does random things to the slots, one at a time, and writes down what it saw."""

    def __init__(self, number: int, url: str) -> None:
        self.random = random.Random(number)
        self.number = number
        self.url = url
        self.session = requests.Session()
        self.seen: list[tuple[int, Operation]] = []

    def run(self, steps: int) -> None:
        with self.session:
            for step in range(steps):
                if self.random.random() < 0.4:
                    self._read()
                else:
                    self._write(f"client {self.number} step {step}")

    def _read(self) -> None:
        called_at = time.monotonic()
        status, body = self._request("GET", "/api/appointments")
        returned_at = time.monotonic()
        for slot in range(1, 5):
            if status == 200:
                interview = body[str(slot)]["interview"]
                saw = interview and interview["student"]
                self.seen.append((slot, op("read", None, saw, called_at, returned_at)))

    def _write(self, student: str) -> None:
        slot = self.random.randint(1, 4)
        kind = self.random.choice(["book", "book free", "book free", "edit", "cancel", "cancel"])
        path = f"/api/appointments/{slot}"
        called_at = time.monotonic()
        if kind == "cancel":
            status, _ = self._request("DELETE", path)
        else:
            interview = {"student": student, "interviewer": self.random.randint(1, 2)}
            status, _ = self._request(
                "PUT", path, json={"interview": interview}, headers=CONDITION.get(kind)
            )
        outcome: Any = status if status in {204, 412} else "unknown"
        value = None if kind == "cancel" else student
        self.seen.append((slot, op(kind, value, outcome, called_at, time.monotonic())))

    def _request(self, method: str, path: str, **arguments: Any) -> tuple[int, Any]:
        try:
            response = self.session.request(method, self.url + path, timeout=10, **arguments)
        except requests.ConnectionError:
            return 0, None
        assert response.status_code in {200, 204, 412, 503}, response.text
        return response.status_code, response.json() if response.status_code == 200 else None


@pytest.mark.parametrize(
    "steps", [pytest.param(60, id="short"), pytest.param(1500, id="long", marks=pytest.mark.slow)]
)
def test_histories_are_linearizable_while_backends_are_killed(
    serve: Callable[..., Server],
    sql: Callable[..., Any],
    environ: dict[str, str],
    steps: int,
) -> None:
    with create_app(environ).app_context():
        schema.reset()
    sql("DELETE FROM interviews")
    server = serve()
    clients = [Client(number, server.url) for number in range(16)]
    threads = [threading.Thread(target=client.run, args=[steps]) for client in clients]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        sql(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid() AND random() < 0.5"
        )
        threads[0].join(0.2)
    for slot in range(1, 5):
        history = [seen for client in clients for at, seen in client.seen if at == slot]
        assert len(history) > 16
        assert is_linearizable(history), sorted(history, key=lambda seen: seen.called_at)
