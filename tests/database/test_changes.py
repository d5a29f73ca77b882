"""The change feed hears of every change, whoever made it, once it is committed."""

from __future__ import annotations

import json
import queue
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from flask import Flask

from app.database import change_listener, pool, schema
from app.database.change_listener import Change, Feed
from tests.support.database import LISTENERS, Sql, connected
from tests.support.proxy import Proxy
from tests.support.threads import Threads
from tests.support.waiting import wait_for

ARCHIE = {"student": "Archie Cohen", "interviewer": 1}
ADA = {"student": "Ada", "interviewer": 2}
# Comes after everything that was committed before it.
MARK = Change(0)
# A change of a table other than `interviews`.
TABLE = (None, None)


class Recorder:
    """A subscriber that writes down what it is told."""

    def __init__(self) -> None:
        self.events: queue.Queue[Change | list[Any]] = queue.Queue()

    def changed(self, change: Change) -> None:
        self.events.put(change)

    def resumed(self, connection: pool.Connection) -> None:
        """Write down what is stored: nothing before this moment has to be told any more."""
        with connection.cursor() as cursor:
            cursor.execute("SELECT appointment_id, student FROM interviews ORDER BY 1 -- LISTEN")
            self.events.put(cursor.fetchall())


@pytest.fixture
def recorder() -> Recorder:
    return Recorder()


def start(feed: Feed, recorder: Recorder) -> Feed:
    feed.subscribe(recorder)
    feed.start()
    wait_for(lambda: feed.is_reliable)
    return feed


@pytest.fixture
def feed(app: Flask, recorder: Recorder, monkeypatch: pytest.MonkeyPatch) -> Iterator[Feed]:
    """A feed that listens, with a recorder that was told nothing but the start."""
    monkeypatch.setattr(change_listener, "PROVE_EVERY", 0.1)
    feed = start(Feed(app.config["DATABASE"]), recorder)
    assert recorder.events.get(timeout=5) == [(1, "Archie Cohen")]
    yield feed
    feed.stop()


Told = Callable[[], list[Any]]


@pytest.fixture
def told(feed: Feed, recorder: Recorder, sql: Sql) -> Told:
    """Gives what was told of all that has been committed: slots with their interviews."""

    def collect() -> list[Any]:
        sql("SELECT pg_notify('scheduler_changes', '{\"transaction\": 0}')")
        events = []
        while (event := recorder.events.get(timeout=5)) != MARK:
            events.append(event[1:] if isinstance(event, Change) else event)
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
def test_a_change_is_told_once_it_is_committed(
    told: Told, sql: Sql, statement: str, expected: list[Any]
) -> None:
    sql(statement)
    assert told() == expected


@pytest.mark.parametrize(
    "statement",
    [
        "DELETE FROM interviewers WHERE id = 1",
        "DELETE FROM appointments",
        "DELETE FROM days WHERE id = 1",
    ],
)
def test_a_cascade_tells_every_slot_concerned(told: Told, sql: Sql, statement: str) -> None:
    sql("INSERT INTO interviews VALUES (100, 'Ada', 1, 2)")
    assert told() == [(2, {"student": "Ada", "interviewer": 1})]
    sql(statement)
    events = told()
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
def test_a_change_of_another_table_is_told(told: Told, sql: Sql, statement: str) -> None:
    sql(statement)
    assert told() == [TABLE]


def test_a_change_names_its_transaction(feed: Feed, recorder: Recorder, sql: Sql) -> None:
    ((transaction_id,),) = sql(f"{BOOK_2} RETURNING pg_current_xact_id()::text::bigint")
    assert recorder.events.get(timeout=5) == Change(transaction_id, 2, ADA)


def test_a_change_undone_and_done_again_in_one_transaction_ends_as_it_is_stored(
    told: Told, sql: Sql
) -> None:
    one, other = (f"UPDATE interviews SET student = '{name}'" for name in ("Ada", "Bob"))
    sql(f"BEGIN; {one}; {other}; {one}; {other}; {one}; COMMIT")
    assert told()[-1] == (1, {"student": "Ada", "interviewer": 1})
    delete = "DELETE FROM interviews WHERE appointment_id = 2"
    sql(f"BEGIN; {BOOK_2}; {delete}; {BOOK_2}; {delete}; COMMIT")
    assert told()[-1] == (2, None)


def test_changes_of_one_slot_are_told_in_the_order_of_their_commits(
    told: Told, sql: Sql, app: Flask
) -> None:
    sql("UPDATE interviews SET student = '0'")
    assert told()[-1] == (1, {"student": "0", "interviewer": 1})

    def count() -> None:
        connection = pool.connect(app.config["DATABASE"], statement_timeout=30)
        with connection.cursor() as cursor:
            for _ in range(25):
                connection.deadline += 10
                cursor.execute("UPDATE interviews SET student = student::integer + 1")
        connection.close()

    with Threads() as threads:
        for _ in range(8):
            threads.start(count)
    assert [int(interview["student"]) for _, interview in told()] == list(range(1, 201))


def test_changes_are_told_whatever_the_search_path(told: Told, sql: Sql) -> None:
    # As a dump of the data alone has it.
    sql("BEGIN; SET LOCAL search_path = ''")
    sql("UPDATE public.interviews SET student = 'Ada'; COMMIT")
    assert told() == [(1, {"student": "Ada", "interviewer": 1})]


def test_the_longest_name_is_told(told: Told, sql: Sql) -> None:
    for student in ("\x01" * 255, '"' * 255, "𐀀" * 255, "\u2028" * 255):
        sql("UPDATE interviews SET student = %s", [student])
        assert told() == [(1, {"student": student, "interviewer": 1})]


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
def test_what_somebody_else_notifies_harms_nothing(
    told: Told, feed: Feed, recorder: Recorder, sql: Sql, payload: str
) -> None:
    sql("SELECT pg_notify('scheduler_changes', %s)", [payload])
    sql(BOOK_2)
    # Told as a change, or found when it was asked what is stored.
    heard = wait_for(lambda: _heard(recorder, 2, "Ada"))
    assert heard
    wait_for(lambda: feed.is_reliable)
    recorder.events.queue.clear()
    sql("DELETE FROM interviews WHERE appointment_id = 2")
    assert told()[-1] == (2, None)


def _heard(recorder: Recorder, slot: int, student: str) -> bool:
    return any(
        (slot, student) in event
        if isinstance(event, list)
        else event.appointment_id == slot and (event.interview or {}).get("student") == student
        for event in list(recorder.events.queue)
    )


SCRIPTS = {
    "tables": (schema.SCHEMA / "drop.sql").read_text(),
    "triggers": "DROP TRIGGER notify_change ON interviews",
    "a trigger of a rarely changed table": "DROP TRIGGER notify_change ON days",
    "the trigger of TRUNCATE": "DROP TRIGGER notify_truncate ON interviews",
}


@pytest.mark.parametrize("missing", SCRIPTS)
def test_the_feed_is_not_relied_on_without_the_tables_and_their_triggers(
    app: Flask, feed: Feed, recorder: Recorder, sql: Sql, missing: str
) -> None:
    sql(SCRIPTS[missing])
    wait_for(lambda: not feed.is_reliable, 5)
    recorder.events.queue.clear()
    with app.app_context():
        schema.prepare()
    wait_for(lambda: feed.is_reliable, 5)
    # What changed meanwhile was not told.
    wait_for(lambda: any(isinstance(event, list) for event in list(recorder.events.queue)))


@pytest.mark.parametrize(
    "statement",
    [
        # As pg_dump has it: the rows first, then the triggers.
        pytest.param(f"DROP TRIGGER notify_change ON interviews; {BOOK_2}; {{trigger}}", id="dump"),
        pytest.param(
            f"ALTER TABLE interviews DISABLE TRIGGER USER; {BOOK_2};"
            " ALTER TABLE interviews ENABLE TRIGGER USER",
            id="disabled triggers",
        ),
        pytest.param("ALTER TABLE interviews ALTER student TYPE text USING 'Ada'"),
        pytest.param("ALTER TABLE interviews DROP student, ADD student text DEFAULT 'Ada'"),
    ],
)
def test_what_changes_in_silence_is_compared(
    feed: Feed, recorder: Recorder, sql: Sql, statement: str
) -> None:
    ((trigger,),) = sql(
        "SELECT pg_get_triggerdef(oid) FROM pg_trigger"
        " WHERE tgname = 'notify_change' AND tgrelid = 'interviews'::regclass"
    )
    sql(f"BEGIN; {statement.format(trigger=trigger)}; COMMIT")
    stored = sql("SELECT appointment_id, student FROM interviews ORDER BY 1")
    assert "Ada" in {student for _, student in stored}
    wait_for(lambda: stored in list(recorder.events.queue), 5)
    assert feed.is_reliable


def test_a_feed_that_cannot_compare_says_so_once(
    feed: Feed, sql: Sql, caplog: pytest.LogCaptureFixture
) -> None:
    sql("ALTER TABLE interviews RENAME student TO pupil")
    wait_for(lambda: not feed.is_reliable, 5)
    time.sleep(5 * change_listener.RETRY_EVERY)
    assert [record.message for record in caplog.records] == ["not listening for changes"]
    sql("ALTER TABLE interviews RENAME pupil TO student")
    wait_for(lambda: feed.is_reliable, 5)
    assert caplog.records[-1].message == "listening for changes"


def test_a_reset_is_compared_once(
    app: Flask, feed: Feed, recorder: Recorder, told: Told, sql: Sql
) -> None:
    with app.app_context():
        schema.reset()
    time.sleep(3 * change_listener.PROVE_EVERY)
    assert [event for event in told() if isinstance(event, list)] == [[(1, "Archie Cohen")]]


@pytest.mark.parametrize(
    "statement", ["DISABLE TRIGGER USER", "ENABLE REPLICA TRIGGER notify_change"]
)
def test_the_feed_is_not_relied_on_while_a_trigger_is_disabled(
    feed: Feed, sql: Sql, statement: str
) -> None:
    sql(f"ALTER TABLE interviews {statement}")
    wait_for(lambda: not feed.is_reliable, 5)
    sql("ALTER TABLE interviews ENABLE TRIGGER USER")
    wait_for(lambda: feed.is_reliable, 5)


def test_a_feed_that_was_cut_off_comes_back_and_says_so(
    feed: Feed, recorder: Recorder, told: Told, sql: Sql
) -> None:
    assert sql(f"SELECT pg_terminate_backend(pid, 5000) FROM {LISTENERS}") == [(True,)]
    sql(BOOK_2)
    stored = [(1, "Archie Cohen"), (2, "Ada")]
    wait_for(lambda: stored in list(recorder.events.queue))
    wait_for(lambda: feed.is_reliable)
    told()
    sql("DELETE FROM interviews WHERE appointment_id = 2")
    assert told() == [(2, None)]


def test_a_change_that_comes_while_the_feed_catches_up_is_told_at_once(
    app: Flask, sql: Sql, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(change_listener, "PROVE_EVERY", 30)

    class Late(Recorder):
        """Whose question what is stored is answered after somebody's change."""

        def __init__(self) -> None:
            super().__init__()
            self.statements: list[str] = []

        def resumed(self, connection: pool.Connection) -> None:
            super().resumed(connection)
            for statement in self.statements:
                sql(statement)
                time.sleep(0.1)
                super().resumed(connection)

    late = Late()
    feed = start(Feed(app.config["DATABASE"]), late)
    late.statements = [BOOK_2]
    with connected(app.config["DATABASE"]["dsn"]) as run:
        run("ALTER TABLE days DISABLE TRIGGER USER, ENABLE TRIGGER USER")
        run("SELECT pg_notify('scheduler_changes', '{\"transaction\": 1, \"compare\": true}')")
    wait_for(lambda: any(isinstance(event, Change) for event in list(late.events.queue)), 5)
    feed.stop()


def test_a_feed_that_cannot_connect_is_not_relied_on_until_it_is_back(
    feed: Feed, recorder: Recorder, gap: Callable[[], Any], sql: Sql
) -> None:
    with gap():
        wait_for(lambda: not feed.is_reliable, 1)
        sql(BOOK_2)
        recorder.events.queue.clear()
    wait_for(lambda: feed.is_reliable)
    assert recorder.events.get(timeout=5) == [(1, "Archie Cohen"), (2, "Ada")]


def test_a_channel_that_never_delivers_is_not_relied_on(
    app: Flask, recorder: Recorder, proxy: Proxy, caplog: pytest.LogCaptureFixture
) -> None:
    # As a pooler in transaction mode: LISTEN is answered, no notification comes.
    proxy.loses = b"A"
    feed = Feed({"dsn": proxy.url})
    feed.subscribe(recorder)
    feed.start()
    wait_for(lambda: proxy.count(b"LISTEN") > 2)
    assert not feed.is_reliable
    proxy.loses = b""
    wait_for(lambda: feed.is_reliable)
    assert recorder.events.get(timeout=5) == [(1, "Archie Cohen")]
    feed.stop()


def test_a_silent_postgresql_is_not_relied_on(
    app: Flask, recorder: Recorder, proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(change_listener, "PROVE_EVERY", 0.2)
    monkeypatch.setattr(pool, "REPLY_TIMEOUT", 0.5)
    feed = start(Feed({"dsn": proxy.url}), recorder)
    # Every answer is lost from now on: data rows, completions, readiness.
    proxy.loses = b"ATDCZEN"
    wait_for(lambda: not feed.is_reliable, 2)
    proxy.loses = b""
    wait_for(lambda: feed.is_reliable)
    feed.stop()


def test_a_subscriber_that_fails_does_not_end_the_feed(
    app: Flask, recorder: Recorder, sql: Sql, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(change_listener, "PROVE_EVERY", 0.1)

    class Failing(Recorder):
        def changed(self, change: Change) -> None:
            raise ZeroDivisionError(json.dumps(change))

    feed = Feed(app.config["DATABASE"])
    feed.subscribe(Failing())
    start(feed, recorder)
    sql(BOOK_2)
    wait_for(lambda: [(1, "Archie Cohen"), (2, "Ada")] in list(recorder.events.queue))
    feed.stop()
