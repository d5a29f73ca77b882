"""The change listener receives every committed change, by any client of PostgreSQL."""

from __future__ import annotations

import queue
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest

from app import create_app
from app.database import change_listener, interviews, notifications, schema
from app.database.change_listener import UNKNOWN, ChangeListener
from app.database.connection import DatabaseConnection
from app.database.notifications import Change
from tests.support.database import LISTENERS, Sql, connected, refill
from tests.support.proxy import Proxy
from tests.support.threads import Threads
from tests.support.waiting import wait_for

ARCHIE = {"student": "Archie Cohen", "interviewer": 1}
ADA = {"student": "Ada", "interviewer": 2}
# Comes after everything that was committed before it.
MARK = Change(9)
# A change of a table other than `interviews`.
TABLE = (None, None)


class Recorder:
    """A subscriber that records the lists of changes that it receives."""

    def __init__(self) -> None:
        self.batches: queue.Queue[list[Change]] = queue.Queue()

    def receive(self, changes: Sequence[Change]) -> None:
        if changes:
            self.batches.put(list(changes))

    def receives_unknown(self) -> bool:
        """Wait until it learns that any data may have changed."""
        while self.batches.get(timeout=30) != [UNKNOWN]:
            pass
        return True

    def missed(self) -> list[Any]:
        """Wait for the result of a comparison: appointments and interviews."""
        batch = self.batches.get(timeout=30)
        while batch == [UNKNOWN] or batch[0].transaction_id is not None:
            batch = self.batches.get(timeout=30)
        return [change[1:3] for change in batch]


@pytest.fixture
def recorder() -> Recorder:
    return Recorder()


def start(listener: ChangeListener, recorder: Recorder) -> ChangeListener:
    listener.subscribe(recorder)
    listener.start()
    listener.wait_until_listening(15)
    return listener


@pytest.fixture
def database(tables: None, database_url: str, sql: Sql) -> dict[str, str]:
    """The database with the fresh seed, as arguments for a connection."""
    refill(sql)
    return {"dsn": database_url}


@pytest.fixture
def listener(
    database: dict[str, str], recorder: Recorder, monkeypatch: pytest.MonkeyPatch
) -> Iterator[ChangeListener]:
    """A listener, with a recorder that has received only what is stored."""
    monkeypatch.setattr(change_listener, "VERIFY_INTERVAL", 0.1)
    listener = start(ChangeListener(database), recorder)
    assert recorder.missed() == [(1, ARCHIE)]
    yield listener
    listener.stop()


Received = Callable[[], list[Any]]


@pytest.fixture
def received(listener: ChangeListener, recorder: Recorder, sql: Sql) -> Received:
    """Returns what was received of everything committed: appointments and interviews."""

    def collect() -> list[Any]:
        sql("SELECT pg_notify('scheduler_changes', '{\"transaction\": 9}')")
        changes: list[Change] = []
        while MARK not in changes:
            changes += recorder.batches.get(timeout=30)
        assert changes.pop() == MARK
        return [change[1:3] for change in changes]

    return collect


BOOK_2 = "INSERT INTO interviews (student, interviewer_id, appointment_id) VALUES ('Ada', 2, 2)"


# test_notifications.py has more statements.
@pytest.mark.parametrize(
    ("statement", "expected"),
    [
        pytest.param(BOOK_2, [(2, ADA)], id="insert"),
        pytest.param("UPDATE interviews SET student = 'Ada', interviewer_id = 2", [(1, ADA)]),
        pytest.param("UPDATE interviews SET appointment_id = 3", [(1, None), (3, ARCHIE)]),
        pytest.param("DELETE FROM available_interviewers", [TABLE]),
    ],
)
def test_a_committed_change_is_received(
    received: Received, sql: Sql, statement: str, expected: list[Any]
) -> None:
    sql(statement)
    assert received() == expected


def test_a_change_names_its_transaction(
    listener: ChangeListener, recorder: Recorder, sql: Sql
) -> None:
    ((transaction_id,),) = sql(f"{BOOK_2} RETURNING pg_current_xact_id()::text::bigint")
    change = Change(transaction_id, 2, ADA, transaction_id % 2**32)
    assert recorder.batches.get(timeout=30) == [change]


def test_changes_undone_in_one_transaction_end_as_what_is_stored(
    received: Received, sql: Sql
) -> None:
    one, other = (f"UPDATE interviews SET student = '{name}'" for name in ("Ada", "Bob"))
    sql(f"BEGIN; {one}; {other}; {one}; {other}; {one}; COMMIT")
    assert received()[-1] == (1, {"student": "Ada", "interviewer": 1})
    delete = "DELETE FROM interviews WHERE appointment_id = 2"
    sql(f"BEGIN; {BOOK_2}; {delete}; {BOOK_2}; {delete}; COMMIT")
    assert received()[-1] == (2, None)


def test_changes_of_one_appointment_are_received_in_the_order_of_their_commits(
    received: Received, sql: Sql, database: dict[str, str]
) -> None:
    sql("UPDATE interviews SET student = '0'")
    assert received()[-1] == (1, {"student": "0", "interviewer": 1})

    def count() -> None:
        with connected(database["dsn"]) as run:
            for _ in range(25):
                run("UPDATE interviews SET student = student::integer + 1")

    with Threads() as threads:
        for _ in range(8):
            threads.start(count)
    assert [int(interview["student"]) for _, interview in received()] == list(range(1, 201))


GARBAGE = [
    "",
    "garbage",
    "null",
    "[]",
    "{}",
    '{"transaction": "1"}',
    '{"transaction": 1.5, "id": 1, "interview": null}',
    '{"transaction": -1, "id": 1}',
    '{"id": 1, "interview": null}',
    '{"transaction": 1e400}',
    "[" * 7900,
    '{"a":' * 1500,
    "\ufeff{}",
]


@pytest.mark.parametrize("payload", GARBAGE, ids=lambda payload: payload[:20])
def test_foreign_notifications_are_ignored(received: Received, sql: Sql, payload: str) -> None:
    sql("SELECT pg_notify('scheduler_changes', %s)", [payload])
    sql(BOOK_2)
    sql("DELETE FROM interviews WHERE appointment_id = 2")
    assert received() == [(2, ADA), (2, None)]


def test_a_disconnected_listener_reconnects_and_finds_what_changed(
    listener: ChangeListener, recorder: Recorder, received: Received, sql: Sql
) -> None:
    assert sql(f"SELECT pg_terminate_backend(pid, 5000) FROM {LISTENERS}") == [(True,)]
    sql(BOOK_2)
    assert recorder.missed() == [(2, ADA)]
    sql("DELETE FROM interviews WHERE appointment_id = 2")
    assert received() == [(2, None)]


def test_a_listener_that_cannot_connect_reconnects_when_it_can(
    listener: ChangeListener, recorder: Recorder, gap: Callable[[], Any], sql: Sql
) -> None:
    with gap():
        sql(BOOK_2)
        sql("DELETE FROM interviews WHERE appointment_id = 1")
    assert recorder.missed() == [(1, None), (2, ADA)]


def test_missed_changes_come_before_those_notified_meanwhile(
    listener: ChangeListener,
    recorder: Recorder,
    gap: Callable[[], Any],
    sql: Sql,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    fetch = interviews.fetch

    def change_and_fetch(connection: DatabaseConnection) -> interviews.Interviews:
        monkeypatch.setattr(interviews, "fetch", fetch)
        sql("UPDATE interviews SET student = 'Eve' WHERE appointment_id = 1")
        return fetch(connection)

    with gap():
        sql(BOOK_2)
        monkeypatch.setattr(interviews, "fetch", change_and_fetch)
    ids: list[int] = []
    while 1 not in ids:
        batch = recorder.batches.get(timeout=30)
        ids += [change.appointment_id for change in batch if change.appointment_id]
    assert ids == [2, 1]


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.message for record in caplog.records if record.levelname == "WARNING"]


def test_what_changed_without_a_notification_is_found_and_logged_once(
    listener: ChangeListener, recorder: Recorder, sql: Sql, caplog: pytest.LogCaptureFixture
) -> None:
    silently = "BEGIN; SET LOCAL session_replication_role = replica; {}; COMMIT"
    sql(silently.format(BOOK_2))
    assert recorder.missed() == [(2, ADA)]
    sql(silently.format("UPDATE interviews SET student = student WHERE appointment_id = 2"))
    assert recorder.missed() == [(2, ADA)]
    delete = "DELETE FROM interviews WHERE appointment_id = 2"
    sql(silently.format(f"{delete}; {BOOK_2}"))
    assert recorder.missed() == [(2, ADA)]
    sql(silently.format(delete))
    assert recorder.missed() == [(2, None)]
    assert warnings(caplog) == ["interviews changed without a notification"]


def test_steady_writes_are_not_mistaken_for_changes_without_a_notification(
    database: dict[str, str],
    recorder: Recorder,
    sql: Sql,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(change_listener, "VERIFY_INTERVAL", 0.0)
    listener = start(ChangeListener(database), recorder)
    assert recorder.missed() == [(1, ARCHIE)]
    started = time.monotonic()
    number = 0
    while time.monotonic() < started + 2:
        number += 1
        sql("UPDATE interviews SET student = %s", [str(number)])
    last = {"student": str(number), "interviewer": 1}
    changes: list[Change] = []
    while (1, last) not in [change[1:3] for change in changes[-5:]]:
        changes += recorder.batches.get(timeout=30)
    listener.stop()
    # Each once and in order, and nothing found by a comparison.
    seen = [change.interview["student"] for change in changes if change.interview]
    assert seen == [str(n) for n in range(1, number + 1)]
    assert warnings(caplog) == []


def test_a_reset_is_compared_once(
    database_url: str, listener: ChangeListener, recorder: Recorder, received: Received
) -> None:
    with create_app({"DATABASE_URL": database_url, "APP_ENV": "test"}).app_context():
        schema.reset()
    time.sleep(3 * change_listener.VERIFY_INTERVAL)
    assert received().count((1, ARCHIE)) == 1
    assert recorder.batches.empty()


def test_many_changes_arrive_in_order(
    database: dict[str, str], recorder: Recorder, sql: Sql
) -> None:
    listener = start(ChangeListener(database), recorder)
    assert recorder.missed() == [(1, ARCHIE)]
    sql("INSERT INTO appointments SELECT n, 'x', 2 FROM generate_series(1001, 6000) n")
    sql("INSERT INTO interviews SELECT n, 'x', 2, n FROM generate_series(1001, 6000) n")
    changes: list[Change] = []
    while len(changes) < 5001:
        changes += recorder.batches.get(timeout=30)
    assert [each.appointment_id for each in changes] == [None, *range(1001, 6001)]
    listener.stop()


def test_a_channel_that_never_delivers_is_not_listened_to(
    database: dict[str, str],
    recorder: Recorder,
    proxy: Proxy,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    for module in (interviews, notifications):
        monkeypatch.setattr(module, "REPLY_TIMEOUT", 0.5)
    # Like a pooler in transaction mode: LISTEN succeeds, no notification arrives.
    proxy.lost_types = b"A"
    listener = ChangeListener({"dsn": proxy.url})
    listener.subscribe(recorder)
    listener.start()
    wait_for(lambda: proxy.count(b"LISTEN") > 2)
    assert list(recorder.batches.queue) == [[UNKNOWN]] * recorder.batches.qsize()
    (record,) = caplog.records
    assert record.message == "not listening for changes"
    assert "pooler" in record.__dict__["error"]
    proxy.lost_types = b""
    assert recorder.missed() == [(1, ARCHIE)]
    listener.stop()


def test_a_postgresql_that_does_not_reply_is_noticed(
    database: dict[str, str], recorder: Recorder, proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(change_listener, "VERIFY_INTERVAL", 0.2)
    for module in (interviews, notifications):
        monkeypatch.setattr(module, "REPLY_TIMEOUT", 0.5)
    listener = start(ChangeListener({"dsn": proxy.url}), recorder)
    assert recorder.missed() == [(1, ARCHIE)]
    connections = proxy.count(b"client_encoding")
    # Every reply is lost from now on: rows, completions, readiness.
    proxy.lost_types = b"ATDCZEN"
    wait_for(lambda: proxy.count(b"client_encoding") > connections, 5)
    proxy.lost_types = b""
    assert recorder.receives_unknown()
    listener.stop()


def test_a_subscriber_that_fails_does_not_end_the_listener(
    database: dict[str, str], recorder: Recorder, sql: Sql
) -> None:
    class Failing:
        def receive(self, changes: Sequence[Change]) -> None:
            if any(change.transaction_id for change in changes):
                raise ZeroDivisionError

    listener = ChangeListener(database)
    listener.subscribe(Failing())
    start(listener, recorder)
    assert recorder.missed() == [(1, ARCHIE)]
    sql(BOOK_2)
    assert recorder.missed() == [(2, ADA)]
    listener.stop()
