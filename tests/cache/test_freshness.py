"""A read sees every write that was answered before it began."""

from __future__ import annotations

import itertools
import os
import signal
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

from tests.support.database import LISTENERS, Sql
from tests.support.http import Response, ask, booking
from tests.support.lists import PATHS
from tests.support.server import Serve, Server
from tests.support.threads import Threads
from tests.support.waiting import wait_for

SLOTS = range(101, 109)


@pytest.fixture
def wide(app: Flask, sql: Sql) -> None:
    """Days that have one slot each, for one writer each."""
    for slot in SLOTS:
        sql(f"INSERT INTO days VALUES ({slot}, 'x')")
        sql(f"INSERT INTO appointments VALUES ({slot}, '12pm', {slot})")


class Writer:
    """Writes to a slot of its own, and looks whether what was answered shows."""

    def __init__(self, server: Server, slot: int) -> None:
        self.server = server
        self.slot = slot
        self.answered = 0
        self.refused = 0
        self.stale: list[str] = []

    def run(self, stopping: threading.Event, writes: int) -> None:
        path = f"/api/appointments/{self.slot}"
        for turn in range(writes):
            if stopping.is_set():
                return
            student = None if turn % 3 == 2 else f"{self.slot} {turn}"
            method, body = ("DELETE", None) if student is None else ("PUT", booking(student))
            status = self.ask(method, path, body)
            if status and status.status == 204:
                self.answered += 1
                self.look(student)

    def ask(self, method: str, path: str, body: Any = None) -> Response | None:
        """Ask; None where the worker was killed meanwhile."""
        try:
            answer = ask(self.server, method, path, body)
        except (OSError, EOFError, ValueError):
            return None
        except Exception as error:
            if "http.client" in type(error).__module__:
                return None
            raise
        assert answer.status in {200, 204, 503}, answer
        self.refused += answer.status == 503
        return answer

    def look(self, student: str | None) -> None:
        if (slots := self.ask("GET", "/api/appointments")) and slots.status == 200:
            interview = slots.json[str(self.slot)]["interview"]
            if (interview and interview["student"]) != student:
                self.stale.append(f"{student} answered, {interview} shown")
        if (days := self.ask("GET", "/api/days")) and days.status == 200:
            (spots,) = [day["spots"] for day in days.json if day["id"] == self.slot]
            if spots != (student is None):
                self.stale.append(f"{student} answered, {spots} spots shown")


def race(server: Server, writes: int, disturb: Callable[[], Any] | None = None) -> list[Writer]:
    """Let eight write and eight read through both workers; give the writers."""
    writers = [Writer(server, slot) for slot in SLOTS]
    with Threads() as reading:
        for number in range(8):
            reader = Writer(server, SLOTS[0])
            reading.repeat(reader.ask, "GET", PATHS[number % 2])
        if disturb:
            reading.repeat(disturb)
        with Threads() as writing:
            for writer in writers:
                writing.start(writer.run, reading.stopping, writes)
            writing.join()
    return writers


def test_a_read_sees_every_write_that_was_answered_before(serve: Serve, wide: None) -> None:
    writers = race(serve(), 190)
    assert [writer.stale for writer in writers] == [[]] * 8
    assert [writer.answered for writer in writers] == [190] * 8
    assert [writer.refused for writer in writers] == [0] * 8


def test_also_while_listeners_are_cut_off(serve: Serve, wide: None, sql: Sql) -> None:
    def cut() -> None:
        sql(f"SELECT pg_terminate_backend(pid) FROM {LISTENERS}")
        time.sleep(0.05)

    writers = race(serve(), 60, cut)
    assert [writer.stale for writer in writers] == [[]] * 8
    assert [writer.answered for writer in writers] == [60] * 8


def test_also_when_a_worker_is_killed_and_after_a_reload(serve: Serve, wide: None) -> None:
    server = serve()
    turns = itertools.count()

    def disturb() -> None:
        time.sleep(0.5)
        turn = next(turns)
        if turn in {0, 2}:
            os.kill(server.workers[0], signal.SIGKILL)
        elif turn == 1:
            server.process.send_signal(signal.SIGHUP)

    writers = race(server, 100, disturb)
    assert [writer.stale for writer in writers] == [[]] * 8
    assert sum(writer.answered for writer in writers) > 500


def test_a_change_in_psql_is_seen_within_a_second(serve: Serve, app: Flask, sql: Sql) -> None:
    server = serve()

    def shown() -> list[str]:
        answers = [ask(server, "GET", "/api/appointments").json for _ in range(5)]
        return [slots["1"]["interview"]["student"] for slots in answers]

    for turn in range(30):
        shown()
        sql("UPDATE interviews SET student = %s WHERE appointment_id = 1", [str(turn)])
        wait_for(lambda: shown() == [str(turn)] * 5, 1)  # noqa: B023


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE days SET name = 'x'",
        "DELETE FROM appointments WHERE id = 4",
        "DELETE FROM available_interviewers WHERE day_id = 1",
        "TRUNCATE available_interviewers",
        "INSERT INTO days (name) VALUES ('x')",
        "ALTER TABLE days ALTER name TYPE text USING 'x'",
        "BEGIN; ALTER TABLE days DISABLE TRIGGER USER; UPDATE days SET name = 'x';"
        " ALTER TABLE days ENABLE TRIGGER USER; COMMIT",
    ],
)
def test_a_change_of_any_table_in_psql_is_seen_within_a_second(
    stored: FlaskClient, sql: Sql, statement: str
) -> None:
    before = stored.get("/api/days").data
    sql(statement)
    wait_for(lambda: stored.get("/api/days").data != before, 1)


def test_a_reset_is_seen_at_once_by_both_workers(serve: Serve, app: Flask) -> None:
    server = serve()
    seeded = [ask(server, "GET", path).json for path in PATHS]
    for _ in range(10):
        assert ask(server, "PUT", "/api/appointments/2", booking("Ada")).status == 204
        for path in PATHS * 2:
            ask(server, "GET", path)
        assert ask(server, "GET", "/api/debug/reset").status == 200
        for _ in range(4):
            assert [ask(server, "GET", path).json for path in PATHS] == seeded


def test_while_the_feed_is_down_reads_are_right_all_the_same(
    serve: Serve, app: Flask, sql: Sql, gap: Callable[[], Any]
) -> None:
    server = serve()

    def student() -> Any:
        answer = wait_for(lambda: _ok(ask(server, "GET", "/api/appointments")))
        return answer.json["1"]["interview"]["student"]

    with Threads() as threads:  # connections for both workers: later nobody gets a new one
        for _ in range(24):
            threads.start(ask, server, "PUT", "/api/appointments/2", booking("Bob"))
    with gap():
        for turn in range(10):
            sql("UPDATE interviews SET student = %s WHERE appointment_id = 1", [f"psql {turn}"])
            wait_for(lambda: student() == f"psql {turn}", 1)  # noqa: B023
            put = booking(f"put {turn}")
            wait_for(lambda: ask(server, "PUT", "/api/appointments/1", put).status == 204)  # noqa: B023
            assert [student() for _ in range(4)] == [f"put {turn}"] * 4
    sql("UPDATE interviews SET student = 'after' WHERE appointment_id = 1")
    wait_for(lambda: [student() for _ in range(4)] == ["after"] * 4, 1)


def _ok(answer: Response) -> Response | None:
    assert answer.status in {200, 503}
    return answer if answer.status == 200 else None
