"""Many changes at once, and many changes of long lists, keep nobody waiting."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import closing
from typing import Any

from tests.conftest import Server, ask
from tests.fairness.measures import Bystanders, attackers

Sql = Callable[..., list[tuple[Any, ...]]]

MANY = 100_000
LONG_WEEK = 20_000


def add_appointments(sql: Sql, count: int) -> None:
    """Add booked appointments without a notification for each."""
    for statement in [
        "ALTER TABLE appointments DISABLE TRIGGER USER",
        "ALTER TABLE interviews DISABLE TRIGGER USER",
        f"INSERT INTO appointments SELECT n, '1pm', 1 FROM generate_series(1000, {999 + count}) n",
        "INSERT INTO interviews (student, interviewer_id, appointment_id)"
        " SELECT 'Ada', 1, id FROM appointments WHERE id >= 1000",
        "ALTER TABLE appointments ENABLE TRIGGER USER",
        "ALTER TABLE interviews ENABLE TRIGGER USER",
        "ANALYZE",
    ]:
        sql(statement)


def test_one_statement_that_changes_100_000_interviews_keeps_nobody_waiting(
    app: object, serve: Callable[..., Server], sql: Sql
) -> None:
    add_appointments(sql, MANY)
    server = serve()
    with (
        closing(Bystanders(server, lists=["/api/interviewers"])) as bystanders,
        attackers(server, "listeners", 2),
    ):
        seen_after = 0.0

        def change_all() -> None:
            nonlocal seen_after
            sql("UPDATE interviews SET student = 'Bob' WHERE appointment_id >= 1000")
            sql("UPDATE interviewers SET name = 'Renamed' WHERE id = 1")
            started = time.monotonic()
            while b"Renamed" not in ask(server, "GET", "/api/interviewers").body:
                time.sleep(0.02)
            seen_after = time.monotonic() - started

        changing = threading.Thread(target=change_all)
        changing.start()
        cost = bystanders.measure(5)
        changing.join()
    print(f"\n{cost}, the edit was seen after {seen_after:.2f} s")
    assert seen_after < 1.5
    cost.check()


def test_bookings_of_a_long_week_with_compressed_readers_keep_nobody_waiting(
    app: object, serve: Callable[..., Server], sql: Sql
) -> None:
    add_appointments(sql, LONG_WEEK)
    server = serve()
    with (
        closing(Bystanders(server, lists=["/api/interviewers"])) as bystanders,
        attackers(server, "bookings", 4),
        attackers(server, "compressed lists", 1),
    ):
        cost = bystanders.measure(3)
    print(f"\n{cost}")
    cost.check()
