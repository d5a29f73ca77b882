"""Changes without a notification: reads show them after a second, sockets within five."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import ExitStack

import pytest

from tests.support.database import Sql, connected, refill
from tests.support.http import ask
from tests.support.pace import is_within
from tests.support.processes import frozen
from tests.support.server import Server
from tests.support.waiting import wait_for
from tests.support.websocket import frame, open_socket, until

CANCEL = "DELETE FROM interviews WHERE appointment_id = 1"
EDIT = "UPDATE interviews SET student = 'Eve' WHERE appointment_id = 1"
BOOK = "INSERT INTO interviews (student, interviewer_id, appointment_id) VALUES ('Eve', 1, 1)"

REPLICA = "BEGIN; SET LOCAL session_replication_role = replica; {}; COMMIT"
DISABLED = (
    "BEGIN; ALTER TABLE interviews DISABLE TRIGGER USER; {};"
    " ALTER TABLE interviews ENABLE TRIGGER USER; COMMIT"
)
Change = Callable[[Sql, str], object]


def by(statement: str) -> Change:
    return lambda sql, _: sql(statement)


def truncate_under_an_old_snapshot(sql: Sql, url: str) -> None:
    """A trigger that reads under this snapshot does not see the booking, which is newer."""
    with connected(url) as other:
        sql(CANCEL)
        other("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM interviews")
        sql(BOOK)
        other("TRUNCATE interviews; COMMIT")


CHANGES = [
    pytest.param(by(REPLICA.format(EDIT)), "Eve", id="edited as a replica"),
    pytest.param(by(DISABLED.format(CANCEL)), None, id="cancelled with triggers disabled"),
    pytest.param(truncate_under_an_old_snapshot, None, id="truncated under an old snapshot"),
]


@pytest.fixture
def server(shared: Server, sql: Sql) -> Server:
    """A server that shows the fresh seed."""
    refill(sql)
    wait_for(lambda: [student(shared) for _ in range(8)] == ["Archie Cohen"] * 8)
    return shared


def student(server: Server) -> str | None:
    interview = ask(server, "GET", "/api/appointments").json["1"]["interview"]
    return interview["student"] if interview else None


@pytest.mark.parametrize(("change", "expected"), CHANGES)
def test_a_silent_change_reaches_reads_in_a_second_and_sockets_in_five(
    server: Server, sql: Sql, database_url: str, change: Change, expected: str | None
) -> None:
    with ExitStack() as stack:
        sockets = [stack.enter_context(open_socket(server)) for _ in range(4)]
        # Both workers have cached the list.
        assert {student(server) for _ in range(8)} == {"Archie Cohen"}
        change(sql, database_url)
        changed_at = time.monotonic()
        time.sleep(1)
        assert {student(server) for _ in range(8)} == {expected}
        for socket in sockets:
            until(socket, frame(1, expected))
        assert is_within(time.monotonic() - changed_at, 5)


def test_after_a_read_shows_a_silent_change_no_later_read_is_older(
    server: Server, sql: Sql
) -> None:
    first, second = server.workers
    with frozen([second]):
        student(server)
    time.sleep(0.5)
    with frozen([first]):
        student(server)
    sql(REPLICA.format(EDIT))
    # The response in the first worker expires half a second before that in the second.
    seen = [student(server)]
    until_then = time.monotonic() + 1.2
    while time.monotonic() < until_then:
        seen.append(student(server))
    assert seen[-1] == "Eve"
    assert set(seen[seen.index("Eve") :]) == {"Eve"}
