"""The change listener receives every change, whoever made it, once it is committed."""

from __future__ import annotations

import json
import queue
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest
from flask import Flask

from app.database import change_listener, schema
from app.database.change_listener import Change, ChangeListener, Subscriber
from app.database.connection import DatabaseConnection, connect
from tests.support.database import LISTENERS, Sql
from tests.support.proxy import Proxy
from tests.support.threads import Threads
from tests.support.waiting import wait_for

ARCHIE = {"student": "Archie Cohen", "interviewer": 1}
ADA = {"student": "Ada", "interviewer": 2}
# Comes after everything that was committed before it.
MARK = Change(9, xmin=9)
# A change of a table other than `interviews`.
TABLE = (None, None)


class Recorder(Subscriber):
    """A subscriber that records what it receives."""

    def __init__(self) -> None:
        self.events: queue.Queue[Change | list[Any]] = queue.Queue()
        self.is_current_now = True

    def receive(self, changes: Sequence[Change]) -> None:
        for change in changes:
            self.events.put(change)

    def compare(self, connection: DatabaseConnection) -> int:
        """Record what is stored: changes before this moment need not be received."""
        with connection.cursor() as cursor:
            cursor.execute("SELECT appointment_id, student FROM interviews ORDER BY 1 -- LISTEN")
            self.events.put(cursor.fetchall())
        return 1

    def is_current(self, connection: DatabaseConnection) -> bool:
        return self.is_current_now


@pytest.fixture
def recorder() -> Recorder:
    return Recorder()


def start(listener: ChangeListener, recorder: Recorder) -> ChangeListener:
    listener.subscribe(recorder)
    listener.start()
    listener.wait_until_listening(15)
    return listener


@pytest.fixture
def listener(
    app: Flask, recorder: Recorder, monkeypatch: pytest.MonkeyPatch
) -> Iterator[ChangeListener]:
    """A listener, with a recorder that has received nothing but what is stored."""
    monkeypatch.setattr(change_listener, "VERIFY_INTERVAL", 0.1)
    monkeypatch.setattr(change_listener, "NOTIFICATION_DELAY", 0.1)
    listener = start(ChangeListener(app.config["DATABASE"]), recorder)
    assert recorder.events.get(timeout=5) == [(1, "Archie Cohen")]
    yield listener
    listener.stop()


Received = Callable[[], list[Any]]


@pytest.fixture
def received(listener: ChangeListener, recorder: Recorder, sql: Sql) -> Received:
    """Returns what was received of all that has been committed: appointments and interviews."""

    def collect() -> list[Any]:
        sql("SELECT pg_notify('scheduler_changes', '{\"transaction\": 9}')")
        events = []
        while (event := recorder.events.get(timeout=5)) != MARK:
            events.append(event[1:3] if isinstance(event, Change) else event)
        return events

    return collect


BOOK_2 = "INSERT INTO interviews (student, interviewer_id, appointment_id) VALUES ('Ada', 2, 2)"


@pytest.mark.parametrize(
    ("statement", "expected"),
    [
        pytest.param(BOOK_2, [(2, ADA)], id="insert"),
        pytest.param("UPDATE interviews SET student = 'Ada', interviewer_id = 2", [(1, ADA)]),
        pytest.param("UPDATE interviews SET student = student", [(1, ARCHIE)], id="same again"),
        pytest.param("DELETE FROM interviews", [(1, None)]),
        pytest.param("DELETE FROM interviews WHERE false", [], id="nothing"),
        pytest.param("UPDATE interviews SET appointment_id = 3", [(1, None), (3, ARCHIE)]),
        pytest.param("UPDATE interviews SET appointment_id = NULL", [(1, None)]),
        pytest.param(
            "INSERT INTO interviews (student, interviewer_id) VALUES ('x', 1)", [], id="no slot"
        ),
        pytest.param(
            "UPDATE interviews SET interviewer_id = NULL",
            [(1, {"student": "Archie Cohen", "interviewer": None})],
        ),
        pytest.param(f"BEGIN; {BOOK_2}; ROLLBACK", [], id="rolled back"),
        pytest.param(
            f"BEGIN; SAVEPOINT s; {BOOK_2}; ROLLBACK TO s; DELETE FROM interviews; COMMIT",
            [(1, None)],
            id="rolled back in part",
        ),
        pytest.param(
            f"{BOOK_2} ON CONFLICT (appointment_id) DO NOTHING; {BOOK_2}"
            " ON CONFLICT (appointment_id) DO UPDATE SET student = 'Bob'",
            [(2, ADA), (2, {"student": "Bob", "interviewer": 2})],
            id="upserts",
        ),
        pytest.param(
            "CREATE TEMP TABLE new AS SELECT 2 AS slot;"
            " MERGE INTO interviews USING new ON appointment_id = slot"
            " WHEN NOT MATCHED THEN INSERT (student, interviewer_id, appointment_id)"
            " VALUES ('Ada', 2, slot); DROP TABLE new",
            [(2, ADA)],
            id="merge",
        ),
    ],
)
def test_a_change_is_received_once_it_is_committed(
    received: Received, sql: Sql, statement: str, expected: list[Any]
) -> None:
    sql(statement)
    assert received() == expected


@pytest.mark.parametrize(
    "statement",
    [
        "DELETE FROM interviewers WHERE id = 1",
        "DELETE FROM appointments",
        "DELETE FROM days WHERE id = 1",
    ],
)
def test_a_cascade_reports_every_appointment(received: Received, sql: Sql, statement: str) -> None:
    sql("INSERT INTO interviews VALUES (100, 'Ada', 1, 2)")
    assert received() == [(2, {"student": "Ada", "interviewer": 1})]
    sql(statement)
    events = received()
    assert TABLE in events
    assert {event for event in events if event != TABLE} == {(1, None), (2, None)}


@pytest.mark.parametrize(
    "statement",
    [
        "INSERT INTO days (name) VALUES ('Sunday')",
        "UPDATE appointments SET time = '2pm' WHERE id = 1",
        "UPDATE interviewers SET avatar = ''",
        "DELETE FROM available_interviewers",
        "TRUNCATE available_interviewers",
    ],
)
def test_a_change_of_another_table_is_received(
    received: Received, sql: Sql, statement: str
) -> None:
    sql(statement)
    assert received() == [TABLE]


def test_a_change_names_its_transaction(
    listener: ChangeListener, recorder: Recorder, sql: Sql
) -> None:
    ((transaction_id,),) = sql(f"{BOOK_2} RETURNING pg_current_xact_id()::text::bigint")
    assert recorder.events.get(timeout=5) == Change(transaction_id, 2, ADA, transaction_id % 2**32)


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
    received: Received, sql: Sql, app: Flask
) -> None:
    sql("UPDATE interviews SET student = '0'")
    assert received()[-1] == (1, {"student": "0", "interviewer": 1})

    def count() -> None:
        connection = connect(app.config["DATABASE"], statement_timeout=30)
        with connection.cursor() as cursor:
            for _ in range(25):
                connection.deadline += 10
                cursor.execute("UPDATE interviews SET student = student::integer + 1")
        connection.close()

    with Threads() as threads:
        for _ in range(8):
            threads.start(count)
    assert [int(interview["student"]) for _, interview in received()] == list(range(1, 201))


def test_changes_are_received_whatever_the_search_path(received: Received, sql: Sql) -> None:
    # As a dump of the data alone has it.
    sql("BEGIN; SET LOCAL search_path = ''")
    sql("UPDATE public.interviews SET student = 'Ada'; COMMIT")
    assert received() == [(1, {"student": "Ada", "interviewer": 1})]


def test_the_longest_name_is_received(received: Received, sql: Sql) -> None:
    for student in ("\x01" * 255, '"' * 255, "𐀀" * 255, "\u2028" * 255):
        sql("UPDATE interviews SET student = %s", [student])
        assert received() == [(1, {"student": student, "interviewer": 1})]


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
def test_foreign_notifications_are_ignored(
    received: Received, listener: ChangeListener, recorder: Recorder, sql: Sql, payload: str
) -> None:
    sql("SELECT pg_notify('scheduler_changes', %s)", [payload])
    sql(BOOK_2)
    # Received as a change, or found when it was asked what is stored.
    heard = wait_for(lambda: _heard(recorder, 2, "Ada"))
    assert heard
    recorder.events.queue.clear()
    sql("DELETE FROM interviews WHERE appointment_id = 2")
    assert received()[-1] == (2, None)


def _heard(recorder: Recorder, slot: int, student: str) -> bool:
    return any(
        (slot, student) in event
        if isinstance(event, list)
        else event.appointment_id == slot and (event.interview or {}).get("student") == student
        for event in list(recorder.events.queue)
    )


def test_a_listener_that_was_cut_off_comes_back_and_says_so(
    listener: ChangeListener, recorder: Recorder, received: Received, sql: Sql
) -> None:
    assert sql(f"SELECT pg_terminate_backend(pid, 5000) FROM {LISTENERS}") == [(True,)]
    sql(BOOK_2)
    stored = [(1, "Archie Cohen"), (2, "Ada")]
    wait_for(lambda: stored in list(recorder.events.queue))
    received()
    sql("DELETE FROM interviews WHERE appointment_id = 2")
    assert received() == [(2, None)]


def test_what_changed_without_a_notification_is_found_and_logged_once(
    listener: ChangeListener,
    recorder: Recorder,
    received: Received,
    caplog: pytest.LogCaptureFixture,
) -> None:
    recorder.is_current_now = False
    for _ in range(3):
        assert recorder.events.get(timeout=5) == [(1, "Archie Cohen")]
    recorder.is_current_now = True
    warnings = [record.message for record in caplog.records if record.levelname == "WARNING"]
    assert warnings == ["interviews changed without a notification"]


def test_a_reset_is_compared_once(app: Flask, listener: ChangeListener, received: Received) -> None:
    with app.app_context():
        schema.reset()
    time.sleep(3 * change_listener.VERIFY_INTERVAL)
    assert [event for event in received() if isinstance(event, list)] == [[(1, "Archie Cohen")]]


def test_many_changes_arrive_in_order_in_one_piece(
    app: Flask, recorder: Recorder, sql: Sql
) -> None:
    sizes: list[int] = []

    class Counting(Recorder):
        def receive(self, changes: Sequence[Change]) -> None:
            super().receive(changes)
            sizes.append(len(changes))

    counting = Counting()
    listener = start(ChangeListener(app.config["DATABASE"]), counting)
    sql("INSERT INTO appointments SELECT n, 'x', 2 FROM generate_series(1001, 6000) n")
    sql("INSERT INTO interviews SELECT n, 'x', 2, n FROM generate_series(1001, 6000) n")
    wait_for(lambda: sum(sizes) >= 5001)
    ids = [event.appointment_id for event in counting.events.queue if isinstance(event, Change)]
    assert [id_ for id_ in ids if id_] == list(range(1001, 6001))
    assert max(sizes) > 100
    listener.stop()


def test_a_listener_that_cannot_connect_comes_back_when_it_can(
    listener: ChangeListener, recorder: Recorder, gap: Callable[[], Any], sql: Sql
) -> None:
    with gap():
        sql(BOOK_2)
        recorder.events.queue.clear()
    assert recorder.events.get(timeout=5) == [(1, "Archie Cohen"), (2, "Ada")]


def test_a_channel_that_never_delivers_is_not_listened_to(
    app: Flask, recorder: Recorder, proxy: Proxy, caplog: pytest.LogCaptureFixture
) -> None:
    # Like a pooler in transaction mode: LISTEN succeeds, no notification arrives.
    proxy.loses = b"A"
    listener = ChangeListener({"dsn": proxy.url})
    listener.subscribe(recorder)
    listener.start()
    wait_for(lambda: proxy.count(b"LISTEN") > 2)
    assert recorder.events.empty()
    assert [record.message for record in caplog.records] == ["not listening for changes"]
    proxy.loses = b""
    assert recorder.events.get(timeout=5) == [(1, "Archie Cohen")]
    listener.stop()


def test_a_silent_postgresql_is_noticed(
    app: Flask, proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(change_listener, "VERIFY_INTERVAL", 0.2)
    monkeypatch.setattr(change_listener, "REPLY_TIMEOUT", 0.5)

    class Asking(Recorder):
        def is_current(self, connection: DatabaseConnection) -> bool:
            with connection.cursor() as cursor:
                cursor.execute("SELECT 'are you there'")
            return True

    asking = Asking()
    listener = start(ChangeListener({"dsn": proxy.url}), asking)
    assert asking.events.get(timeout=5) == [(1, "Archie Cohen")]
    connections = proxy.count(b"client_encoding")
    # Every reply is lost from now on: rows, completions, readiness.
    proxy.loses = b"ATDCZEN"
    wait_for(lambda: proxy.count(b"client_encoding") > connections, 5)
    proxy.loses = b""
    assert asking.events.get(timeout=5) == [(1, "Archie Cohen")]
    listener.stop()


def test_a_subscriber_that_fails_does_not_end_the_listener(
    app: Flask, recorder: Recorder, sql: Sql
) -> None:
    class Failing(Recorder):
        def receive(self, changes: Sequence[Change]) -> None:
            raise ZeroDivisionError(json.dumps(changes))

    listener = ChangeListener(app.config["DATABASE"])
    listener.subscribe(Failing())
    start(listener, recorder)
    sql(BOOK_2)
    wait_for(lambda: [(1, "Archie Cohen"), (2, "Ada")] in list(recorder.events.queue))
    listener.stop()
