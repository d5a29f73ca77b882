"""create.sql and drop.sql on a database whose triggers have the names of earlier versions."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psycopg2
import pytest
from flask import Flask

from app.database import schema
from app.database.connection import DatabaseConnection
from tests.support.database import Sql, connected
from tests.support.pace import is_within
from tests.support.tables import LOCKS_IN_ORDER
from tests.support.waiting import wait_for

CREATE = (schema.SCHEMA / "create.sql").read_text()
DROP = (schema.SCHEMA / "drop.sql").read_text()

# All but interviews.
OTHER_TABLES = ["days", "appointments", "interviewers", "available_interviewers"]
TRIGGERS = sorted(
    [("interviews", "notify_change"), ("interviews", "notify_truncate")]
    + [(table, "notify_change") for table in OTHER_TABLES]
)
FUNCTIONS = ["notify_interview_change", "notify_table_change"]

DOWNGRADE = """
    DROP FUNCTION notify_interview_change CASCADE;
    DROP FUNCTION notify_table_change CASCADE;
    CREATE FUNCTION tell_interview(appointment_id INTEGER, interview JSON)
    RETURNS void LANGUAGE sql AS $$
      SELECT pg_notify('scheduler_changes', appointment_id::text)
    $$;
    CREATE FUNCTION tell_interview_change() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
      PERFORM tell_interview(NEW.appointment_id, NULL);
      RETURN NULL;
    END
    $$;
    CREATE FUNCTION tell_table_change() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
      PERFORM pg_notify('scheduler_changes', '1');
      RETURN NULL;
    END
    $$;
    CREATE TRIGGER tell_change AFTER INSERT OR UPDATE OR DELETE ON interviews
    FOR EACH ROW EXECUTE FUNCTION tell_interview_change();
    CREATE TRIGGER tell_truncate BEFORE TRUNCATE ON interviews
    FOR EACH STATEMENT EXECUTE FUNCTION tell_interview_change();
""" + "".join(
    f"CREATE TRIGGER tell_change AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON {table}"
    " FOR EACH STATEMENT EXECUTE FUNCTION tell_table_change();"
    for table in OTHER_TABLES
)


@pytest.fixture
def old(app: Flask, sql: Sql) -> Sql:
    """A seeded database with the triggers of earlier versions."""
    sql(DOWNGRADE)
    return sql


def triggers(sql: Sql) -> list[tuple[Any, ...]]:
    return [
        tuple(row)
        for row in sql(
            "SELECT tgrelid::regclass::text, tgname::text FROM pg_trigger"
            " WHERE NOT tgisinternal ORDER BY 1, 2"
        )
    ]


def functions(sql: Sql) -> list[str]:
    statement = (
        "SELECT proname::text FROM pg_proc"
        " WHERE pronamespace = 'public'::regnamespace ORDER BY proname"
    )
    return [name for (name,) in sql(statement)]


def test_create_replaces_the_old_triggers_and_keeps_all_data(old: Sql) -> None:
    assert {name for _, name in triggers(old)} == {"tell_change", "tell_truncate"}
    for _ in range(2):
        old(CREATE)
        assert triggers(old) == TRIGGERS
        assert functions(old) == FUNCTIONS
        assert old("SELECT student FROM interviews") == [("Archie Cohen",)]


def test_create_replaces_the_old_triggers_of_tables_that_were_added(old: Sql) -> None:
    old("CREATE TABLE rooms (id INTEGER)")
    old(
        "CREATE TRIGGER tell_change AFTER INSERT ON rooms"
        " FOR EACH STATEMENT EXECUTE FUNCTION tell_table_change()"
    )
    old(CREATE)
    assert triggers(old) == TRIGGERS
    old("DROP TABLE rooms")


def test_drop_leaves_nothing_of_an_old_schema(old: Sql) -> None:
    old(DROP)
    assert triggers(old) == []
    assert functions(old) == []


def test_a_locked_table_leaves_the_old_triggers_in_place(
    old: Sql, other: DatabaseConnection, database_url: str
) -> None:
    with other.cursor() as cursor, connected(database_url) as run:
        cursor.execute("SELECT * FROM interviews")
        with pytest.raises(psycopg2.errors.LockNotAvailable):
            run(CREATE.replace("lock_timeout = '10s'", "lock_timeout = '100ms'"))
        other.rollback()
    assert {name for _, name in triggers(old)} == {"tell_change", "tell_truncate"}


@pytest.mark.parametrize(("first", "second"), LOCKS_IN_ORDER)
def test_create_waits_for_readers_and_writers_and_does_not_deadlock(
    app: Flask, old: Sql, other: DatabaseConnection, first: str, second: str
) -> None:
    def prepare() -> float:
        started = time.monotonic()
        with app.app_context():
            schema.prepare()
        return time.monotonic() - started

    with ThreadPoolExecutor(1) as thread, other.cursor() as cursor:
        cursor.execute(first)
        preparing = thread.submit(prepare)
        waits = "SELECT 1 FROM pg_locks WHERE NOT granted AND relation IS NOT NULL"
        wait_for(lambda: old(waits) or preparing.done())
        cursor.execute(second)
        other.rollback()
        assert is_within(preparing.result(), 5)
    assert triggers(old) == TRIGGERS
