"""`flask db prepare` and create.sql create what is missing and keep all data."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from app.database import schema
from app.database.connection import DatabaseConnection
from tests.support.database import Sql
from tests.support.pace import is_within
from tests.support.project import RELEASE, Run, assert_failed
from tests.support.server import free_port
from tests.support.tables import (
    ENVIRONMENTS,
    INDEXES,
    INTERVIEWERS,
    NO_ROWS,
    TABLES,
    TEST_SEED,
    TRIGGERS,
    additions,
    existing,
    rows,
)

pytestmark = pytest.mark.usefixtures("clean_slate")


def test_prepare_makes_tables_indexes_triggers_and_the_seed(sql: Sql, run_command: Run) -> None:
    finished = run_command(RELEASE)
    assert (finished.returncode, finished.stderr) == (0, "")
    assert len(finished.stdout.splitlines()) == 1
    assert sorted(existing(sql)) == sorted(TABLES)
    assert additions(sql) == (TRIGGERS, INDEXES)
    assert rows(sql) == TEST_SEED


def test_the_tables_have_the_columns_of_the_original(
    sql: Sql, prepare: Callable[[str], None]
) -> None:
    prepare("test")
    columns = sql(
        "SELECT table_name::text, column_name::text, data_type::text,"
        " character_maximum_length, is_nullable = 'YES'"
        " FROM information_schema.columns WHERE table_schema = 'public'"
        " ORDER BY table_name, ordinal_position"
    )
    assert [tuple(column) for column in columns] == [
        ("appointments", "id", "integer", None, False),
        ("appointments", "time", "character varying", 255, False),
        ("appointments", "day_id", "integer", None, True),
        ("available_interviewers", "id", "integer", None, False),
        ("available_interviewers", "day_id", "integer", None, True),
        ("available_interviewers", "interviewer_id", "integer", None, True),
        ("days", "id", "integer", None, False),
        ("days", "name", "character varying", 255, False),
        ("interviewers", "id", "integer", None, False),
        ("interviewers", "name", "character varying", 255, False),
        ("interviewers", "avatar", "character varying", 255, False),
        ("interviews", "id", "integer", None, False),
        ("interviews", "student", "character varying", 255, False),
        ("interviews", "interviewer_id", "integer", None, True),
        ("interviews", "appointment_id", "integer", None, True),
    ]


@pytest.mark.parametrize(
    ("deleted", "left"),
    [
        ("days", {**NO_ROWS, "interviewers": INTERVIEWERS[:2]}),
        ("appointments", {**TEST_SEED, "appointments": [], "interviews": []}),
        ("interviewers", {**TEST_SEED, "interviewers": [], "interviews": [], TABLES[4]: []}),
    ],
)
def test_deleting_a_row_deletes_what_depends_on_it(
    sql: Sql, prepare: Callable[[str], None], deleted: str, left: object
) -> None:
    prepare("test")
    sql(f"DELETE FROM {deleted}")
    assert rows(sql) == left


@pytest.mark.parametrize("name", ENVIRONMENTS)
def test_prepare_twice_leaves_one_set(sql: Sql, prepare: Callable[[str], None], name: str) -> None:
    prepare(name)
    before, objects = rows(sql), additions(sql)
    prepare(name)
    assert (rows(sql), additions(sql)) == (before, objects)


@pytest.mark.parametrize("name", ENVIRONMENTS)
def test_prepare_by_several_at_once_leaves_one_set(
    sql: Sql, prepare: Callable[[str], None], name: str
) -> None:
    with ThreadPoolExecutor(4) as threads:
        list(threads.map(prepare, [name] * 4))
    assert additions(sql) == (TRIGGERS, INDEXES)
    counts = {"production": [5, 25, 10, 0, 25], "development": [5, 25, 10, 10, 25]}
    expected = counts.get(name, [2, 4, 2, 1, 4])
    assert [len(listed) for listed in rows(sql).values()] == expected


@pytest.mark.parametrize("missing", TABLES)
def test_prepare_makes_one_missing_table_and_keeps_the_others(
    sql: Sql, prepare: Callable[[str], None], missing: str
) -> None:
    prepare("test")
    sql(f"DROP TABLE {missing} CASCADE")
    prepare("test")
    assert rows(sql) == {**TEST_SEED, missing: []}
    assert additions(sql) == (TRIGGERS, INDEXES)


def test_prepare_keeps_all_data(sql: Sql, prepare: Callable[[str], None]) -> None:
    prepare("production")
    sql("DELETE FROM days WHERE id > 2")
    sql("UPDATE interviewers SET name = 'Ada' WHERE id = 1")
    sql("INSERT INTO interviews (student, interviewer_id, appointment_id) VALUES ('Bob', 1, 3)")
    before = rows(sql)
    for name in ENVIRONMENTS:
        prepare(name)
    assert rows(sql) == before


@pytest.mark.parametrize(
    "row",
    [
        "days (name) VALUES ('Sunday')",
        "appointments (time) VALUES ('9am')",
        "interviewers (name, avatar) VALUES ('Ada', '')",
        "interviews (student) VALUES ('Bob')",
        "available_interviewers (day_id) VALUES (NULL)",
    ],
)
def test_a_database_with_a_single_row_is_not_seeded(
    sql: Sql, prepare: Callable[[str], None], row: str
) -> None:
    prepare("test")
    sql(f"TRUNCATE {', '.join(TABLES)}")
    sql(f"INSERT INTO {row}")
    before = rows(sql)
    prepare("test")
    assert rows(sql) == before


def test_prepare_without_a_database_says_so_and_succeeds(run_command: Run, tmp_path: Path) -> None:
    # Without a service, libpq might find a local database.
    service = tmp_path / "service.conf"
    service.write_text("[nowhere]\nhost=/nonexistent\n")
    libpq = {"PGSERVICE": "nowhere", "PGSERVICEFILE": str(service)}
    for settings in ({}, {"DYNO": "release.1"}, {"PGHOST": "", "PGPORT": ""}):
        finished = run_command(RELEASE, DATABASE_URL=None, APP_ENV=None, **libpq, **settings)
        assert (finished.returncode, finished.stderr) == (0, "")
        assert "DATABASE_URL" in finished.stdout
        assert len(finished.stdout.splitlines()) == 1


@pytest.mark.parametrize("as_parts", [False, True], ids=["url", "parts"])
def test_prepare_reports_an_unreachable_database(run_command: Run, as_parts: bool) -> None:
    port = str(free_port())
    parts = {"PGHOST": "127.0.0.1", "PGPORT": port, "PGUSER": "ada", "PGPASSWORD": "secret"}
    url = f"postgresql://ada:secret@127.0.0.1:{port}/x"
    started = time.monotonic()
    finished = run_command(
        RELEASE, **({"DATABASE_URL": None, **parts} if as_parts else {"DATABASE_URL": url})
    )
    assert is_within(time.monotonic() - started, 15)
    assert_failed(finished)
    assert finished.stdout == ""
    assert finished.stderr.startswith("The database could not be prepared: ")


def test_prepare_reports_a_database_error(sql: Sql, run_command: Run) -> None:
    sql("CREATE VIEW interviewers AS SELECT 1 AS id")
    finished = run_command(RELEASE)
    assert_failed(finished)
    assert existing(sql) == []


def test_a_seed_that_fails_leaves_nothing_of_prepare(
    sql: Sql, prepare: Callable[[str], None], run_command: Run
) -> None:
    sql("CREATE TABLE days (id SERIAL PRIMARY KEY, name VARCHAR(255) CHECK (name <> 'Friday'))")
    assert_failed(run_command(RELEASE, APP_ENV="production"))
    assert existing(sql) == ["days"]
    assert sql("SELECT * FROM days") == []
    assert additions(sql) == ([], [])


@pytest.mark.parametrize(
    "statement",
    [
        "SELECT * FROM interviews, appointments, days, interviewers, available_interviewers",
        "INSERT INTO interviews (student, interviewer_id, appointment_id) VALUES ('Eve', 1, 4)",
        "UPDATE interviewers SET name = 'Eve'",
        "DELETE FROM available_interviewers",
        "SELECT * FROM days FOR UPDATE",
    ],
)
def test_prepare_waits_for_no_lock_if_nothing_is_missing(
    sql: Sql, prepare: Callable[[str], None], other: DatabaseConnection, statement: str
) -> None:
    prepare("test")
    with other.cursor() as cursor:
        cursor.execute(statement)
    started = time.monotonic()
    prepare("test")
    assert is_within(time.monotonic() - started, 2)
    # It does not block that transaction either.
    other.rollback()
    assert rows(sql) == TEST_SEED


def test_readers_and_writers_continue_during_a_prepare(
    sql: Sql, prepare: Callable[[str], None], other: DatabaseConnection
) -> None:
    prepare("test")
    script = (schema.SCHEMA / "create.sql").read_text()
    with other.cursor() as cursor:
        cursor.execute(script.replace("\nCOMMIT;\n", "\n"))
    started = time.monotonic()
    assert len(sql("SELECT * FROM interviews")) == 1
    sql("UPDATE interviews SET student = 'Bob'")
    assert is_within(time.monotonic() - started, 2)
    other.rollback()
