"""db/schema/*.sql, `flask db prepare`, `flask db reset` and GET /api/debug/reset."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from shutil import which
from typing import Any
from urllib.request import urlopen

import pytest
from flask import Flask
from flask.testing import FlaskClient

from app import create_app
from app.database import pool, schema
from tests.conftest import ROOT, Server, free_port, procfile, wait_for

Sql = Callable[..., list[tuple[Any, ...]]]

TABLES = ["days", "appointments", "interviewers", "interviews", "available_interviewers"]
ENVIRONMENTS = ["production", "development", "test"]
TRIGGERS = [(table, "notify_change") for table in TABLES] + [("interviews", "notify_truncate")]
INDEXES = [
    ("appointments", "day_id"),
    ("available_interviewers", "day_id"),
    ("available_interviewers", "interviewer_id"),
    ("interviews", "interviewer_id"),
]

DAYS = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday"]
TIMES = ["12pm", "1pm", "2pm", "3pm", "4pm"]
INTERVIEWERS = [
    (1, "Sylvia Palmer", "/images/interviewers/3tVgsra_d.webp"),
    (2, "Tori Malcolm", "/images/interviewers/FK8V841_d.webp"),
    (3, "Mildred Nazir", "/images/interviewers/iHq8K8Z_d.webp"),
    (4, "Cohana Roy", "/images/interviewers/LpaY82x_d.webp"),
    (5, "Sven Jones", "/images/interviewers/Nmx0Qxo_d.webp"),
    (6, "Susan Reynolds", "/images/interviewers/nPywAp1_d.webp"),
    (7, "Alec Quon", "/images/interviewers/okB9WKC_d.webp"),
    (8, "Viktor Jain", "/images/interviewers/T2WwVfS_d.webp"),
    (9, "Lindsay Chu", "/images/interviewers/TdOAdde_d.webp"),
    (10, "Samantha Stanic", "/images/interviewers/twYrpay_d.webp"),
]
TEST_SEED = {
    "days": [(1, "Monday"), (2, "Tuesday")],
    "appointments": [(1, "12pm", 1), (2, "1pm", 1), (3, "12pm", 2), (4, "1pm", 2)],
    "interviewers": INTERVIEWERS[:2],
    "interviews": [(1, "Archie Cohen", 1, 1)],
    "available_interviewers": [(1, 1, 1), (2, 1, 2), (3, 2, 1), (4, 2, 2)],
}
EMPTY: dict[str, list[tuple[Any, ...]]] = {table: [] for table in TABLES}


@pytest.fixture(autouse=True)
def clean_slate(sql: Sql) -> None:
    """An empty database, whatever the test before left."""
    sql("DROP SCHEMA public CASCADE")
    sql("CREATE SCHEMA public")


@pytest.fixture(scope="module")
def app_of(database_url: str) -> Iterator[Callable[[str], Flask]]:
    """Makes the application of an environment."""
    apps: list[Flask] = []

    def make(name: str) -> Flask:
        apps.append(create_app({"DATABASE_URL": database_url, "APP_ENV": name}))
        return apps[-1]

    yield make
    with ThreadPoolExecutor(len(apps) or 1) as threads:
        list(threads.map(lambda app: app.extensions["changes"].stop(), apps))


@pytest.fixture
def prepare(app_of: Callable[[str], Flask]) -> Callable[[str], None]:
    """Does what `flask db prepare` does, in an environment."""

    def run(name: str) -> None:
        with app_of(name).app_context():
            schema.prepare()

    return run


@pytest.fixture
def other(database_url: str) -> Iterator[pool.Connection]:
    """Somebody else's connection, in an open transaction."""
    with closing(pool.connect({"dsn": database_url}, statement_timeout=30)) as connection:
        connection.deadline += 3600
        connection.autocommit = False
        yield connection


@pytest.fixture
def flask(database_url: str) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Runs a command of the project's; keyword arguments override settings, None unsets one."""

    def run(command: str, **overrides: str | None) -> subprocess.CompletedProcess[str]:
        settings = {"DATABASE_URL": database_url, "APP_ENV": "test", **overrides}
        given = {name: value for name, value in settings.items() if value is not None}
        return subprocess.run(
            ["sh", "-c", f"exec {command}"],
            cwd=ROOT,
            env={"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", **given},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    return run


Run = Callable[..., subprocess.CompletedProcess[str]]
RELEASE = procfile()["release"]


def assert_failed(ended: subprocess.CompletedProcess[str]) -> None:
    """Check that a command failed and said so to a person."""
    assert ended.returncode != 0
    assert ended.stderr.strip()
    assert "Traceback" not in ended.stdout + ended.stderr
    assert "secret" not in ended.stdout + ended.stderr


def rows(sql: Sql, without_ids: bool = False) -> dict[str, list[Any]]:
    """All rows of all tables."""
    found = {table: sql(f"SELECT * FROM {table} ORDER BY id") for table in TABLES}
    if without_ids:
        return {table: [row[1:] for row in listed] for table, listed in found.items()}
    return {table: [tuple(row) for row in listed] for table, listed in found.items()}


def existing(sql: Sql) -> list[str]:
    """The names of all tables there are."""
    return [name for (name,) in sql("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")]


def additions(sql: Sql) -> tuple[list[Any], list[Any]]:
    """The triggers, and which columns have an index of their own."""
    triggers = sql(
        "SELECT tgrelid::regclass::text, tgname::text FROM pg_trigger"
        " WHERE NOT tgisinternal ORDER BY tgname, array_position(%s, tgrelid::regclass::text)",
        [TABLES],
    )
    indexes = sql(
        "SELECT indrelid::regclass::text, attname::text FROM pg_index"
        " JOIN pg_class ON pg_class.oid = indexrelid"
        " JOIN pg_attribute ON attrelid = indrelid AND attnum = indkey[0]"
        " WHERE relnamespace = 'public'::regnamespace AND NOT indisunique ORDER BY 1, 2"
    )
    return [tuple(row) for row in triggers], [tuple(row) for row in indexes]


# create.sql


def test_prepare_makes_tables_indexes_triggers_and_the_seed(sql: Sql, flask: Run) -> None:
    ended = flask(RELEASE)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert len(ended.stdout.splitlines()) == 1
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
        ("days", {**EMPTY, "interviewers": INTERVIEWERS[:2]}),
        ("appointments", {**TEST_SEED, "appointments": [], "interviews": []}),
        ("interviewers", {**TEST_SEED, "interviewers": [], "interviews": [], TABLES[4]: []}),
    ],
)
def test_what_depends_on_a_row_is_deleted_with_it(
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
def test_prepare_by_several_at_once_leaves_one_set(sql: Sql, flask: Run, name: str) -> None:
    with ThreadPoolExecutor(4) as threads:
        ended = list(threads.map(lambda _: flask(RELEASE, APP_ENV=name), range(4)))
    assert [(one.returncode, one.stderr) for one in ended] == [(0, "")] * 4
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


def test_prepare_keeps_all_data(sql: Sql, prepare: Callable[[str], None], flask: Run) -> None:
    prepare("production")
    sql("DELETE FROM days WHERE id > 2")
    sql("UPDATE interviewers SET name = 'Ada' WHERE id = 1")
    sql("INSERT INTO interviews (student, interviewer_id, appointment_id) VALUES ('Bob', 1, 3)")
    before = rows(sql)
    for name in ENVIRONMENTS:
        assert flask(RELEASE, APP_ENV=name).returncode == 0
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
@pytest.mark.parametrize("name", ENVIRONMENTS)
def test_a_database_with_a_single_row_is_not_seeded(
    sql: Sql, prepare: Callable[[str], None], name: str, row: str
) -> None:
    prepare(name)
    sql(f"TRUNCATE {', '.join(TABLES)}")
    sql(f"INSERT INTO {row}")
    before = rows(sql)
    prepare(name)
    assert rows(sql) == before


# The seeds


def test_the_test_seed_is_exact(sql: Sql, prepare: Callable[[str], None]) -> None:
    prepare("test")
    assert rows(sql) == TEST_SEED


@pytest.mark.parametrize("name", ["production", "development"])
def test_a_term_starts_with_five_days_of_five_slots_and_ten_interviewers(
    sql: Sql, prepare: Callable[[str], None], name: str
) -> None:
    prepare(name)
    stored = rows(sql)
    assert stored["days"] == list(enumerate(DAYS, 1))
    slots = [(time, day) for day in range(1, 6) for time in TIMES]
    assert stored["appointments"] == [(row, *slot) for row, slot in enumerate(slots, 1)]
    assert stored["interviewers"] == INTERVIEWERS
    available = defaultdict(set)
    for _, day, interviewer in stored["available_interviewers"]:
        available[day].add(interviewer)
    assert {day: len(those) for day, those in available.items()} == dict.fromkeys(range(1, 6), 5)
    assert len(stored["available_interviewers"]) == 25


def test_a_term_starts_without_interviews(sql: Sql, prepare: Callable[[str], None]) -> None:
    prepare("production")
    assert rows(sql)["interviews"] == []


def test_development_has_ten_interviews_each_with_somebody_who_is_there_that_day(
    sql: Sql, prepare: Callable[[str], None]
) -> None:
    prepare("development")
    stored = rows(sql)
    available = {(day, interviewer) for _, day, interviewer in stored["available_interviewers"]}
    day_of = {slot: day for slot, _, day in stored["appointments"]}
    interviews = stored["interviews"]
    assert all((day_of[slot], interviewer) in available for _, _, interviewer, slot in interviews)
    assert Counter(student for _, student, _, _ in interviews) == Counter(
        [
            "Liam Martinez",
            "Richard Wong",
            "Lydia Miller-Jones",
            "Archie Cohen",
            "Chad Takahashi",
            "Leopold Silvers",
            "Maria Boucher",
            "Jamal Jordan",
            "Michael Chan-Montoya",
            "Yuko Smith",
        ]
    )
    assert len({slot for _, _, _, slot in interviews}) == 10


def test_what_is_random_differs_from_seed_to_seed(sql: Sql, app_of: Callable[[str], Flask]) -> None:
    seen = set()
    app = app_of("development")
    for _ in range(3):
        with app.app_context():
            schema.reset()
        stored = rows(sql)
        seen.add(str(stored["available_interviewers"]) + str(stored["interviews"]))
    assert len(seen) == 3


def test_after_the_seed_new_rows_have_ids_of_their_own(
    sql: Sql, prepare: Callable[[str], None]
) -> None:
    prepare("production")
    assert sql("INSERT INTO days (name) VALUES ('Saturday') RETURNING id")[0][0] == 6
    assert sql("INSERT INTO appointments (time) VALUES ('5pm') RETURNING id")[0][0] == 26
    row = sql("INSERT INTO interviewers (name, avatar) VALUES ('Ada', '') RETURNING id")[0]
    assert row[0] == 11


# prepare, and what is in its way


def test_prepare_without_a_database_says_so_and_succeeds(flask: Run, tmp_path: Path) -> None:
    # libpq would find one by itself, where the machine has one.
    service = tmp_path / "service.conf"
    service.write_text("[nowhere]\nhost=/nonexistent\n")
    libpq = {"PGSERVICE": "nowhere", "PGSERVICEFILE": str(service)}
    for attached_nothing in ({}, {"DYNO": "release.1"}, {"PGHOST": "", "PGPORT": ""}):
        ended = flask(RELEASE, DATABASE_URL=None, APP_ENV=None, **libpq, **attached_nothing)
        assert (ended.returncode, ended.stderr) == (0, "")
        assert "DATABASE_URL" in ended.stdout
        assert len(ended.stdout.splitlines()) == 1


@pytest.mark.parametrize("as_parts", [False, True], ids=["url", "parts"])
def test_prepare_fails_in_words_where_the_database_cannot_be_reached(
    flask: Run, as_parts: bool
) -> None:
    port = str(free_port())
    parts = {"PGHOST": "127.0.0.1", "PGPORT": port, "PGUSER": "ada", "PGPASSWORD": "secret"}
    url = f"postgresql://ada:secret@127.0.0.1:{port}/x"
    started = time.monotonic()
    ended = flask(
        RELEASE, **({"DATABASE_URL": None, **parts} if as_parts else {"DATABASE_URL": url})
    )
    assert time.monotonic() - started < 15
    assert_failed(ended)
    assert ended.stdout == ""
    assert ended.stderr.startswith("The database could not be prepared: ")


def test_prepare_fails_in_words_on_an_error_of_the_database(sql: Sql, flask: Run) -> None:
    sql("CREATE VIEW interviewers AS SELECT 1 AS id")
    ended = flask(RELEASE)
    assert_failed(ended)
    assert existing(sql) == []


def test_a_seed_that_fails_leaves_nothing_of_prepare(
    sql: Sql, prepare: Callable[[str], None], flask: Run
) -> None:
    sql("CREATE TABLE days (id SERIAL PRIMARY KEY, name VARCHAR(255) CHECK (name <> 'Friday'))")
    assert_failed(flask(RELEASE, APP_ENV="production"))
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
def test_prepare_waits_for_nobody_where_nothing_is_missing(
    sql: Sql, prepare: Callable[[str], None], other: pool.Connection, statement: str
) -> None:
    prepare("test")
    with other.cursor() as cursor:
        cursor.execute(statement)
    started = time.monotonic()
    prepare("test")
    assert time.monotonic() - started < 2
    # Nor does it hold up that transaction.
    other.rollback()
    assert rows(sql) == TEST_SEED


def test_readers_and_writers_go_on_while_a_prepare_is_open(
    sql: Sql, prepare: Callable[[str], None], other: pool.Connection
) -> None:
    prepare("test")
    script = (schema.SCHEMA / "create.sql").read_text()
    with other.cursor() as cursor:
        cursor.execute(script.replace("\nCOMMIT;\n", "\n"))
    started = time.monotonic()
    assert len(sql("SELECT * FROM interviews")) == 1
    sql("UPDATE interviews SET student = 'Bob'")
    assert time.monotonic() - started < 2
    other.rollback()


# drop.sql and reset


def test_drop_leaves_nothing_of_ours_and_all_of_others(
    sql: Sql, prepare: Callable[[str], None]
) -> None:
    sql("CREATE TABLE notes (id INTEGER)")
    prepare("test")
    for _ in range(2):
        sql((schema.SCHEMA / "drop.sql").read_text())
        assert existing(sql) == ["notes"]
        assert sql("SELECT proname FROM pg_proc WHERE pronamespace = 'public'::regnamespace") == []


@pytest.mark.parametrize("name", ["development", "test"])
def test_reset_starts_over(sql: Sql, flask: Run, prepare: Callable[[str], None], name: str) -> None:
    prepare("test")
    sql("DELETE FROM days")
    ended = flask("flask db reset", APP_ENV=name)
    assert (ended.returncode, ended.stderr) == (0, "")
    stored = rows(sql)
    assert stored == TEST_SEED if name == "test" else len(stored["interviews"]) == 10
    assert additions(sql) == (TRIGGERS, INDEXES)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("SELECT * FROM days", "SELECT * FROM appointments"),
        ("SELECT * FROM appointments", "SELECT * FROM interviews"),
        ("SELECT * FROM interviews", "SELECT * FROM available_interviewers"),
        ("SELECT * FROM appointments FOR KEY SHARE", "SELECT * FROM interviewers FOR KEY SHARE"),
        ("SELECT * FROM interviewers FOR KEY SHARE", "DELETE FROM interviews"),
    ],
)
def test_a_reset_waits_for_who_reads_or_writes_and_does_not_deadlock(
    sql: Sql, app_of: Callable[[str], Flask], other: pool.Connection, first: str, second: str
) -> None:
    app = app_of("test")
    with app.app_context():
        schema.prepare()

    def reset() -> None:
        with app.app_context():
            schema.reset()

    with ThreadPoolExecutor(1) as thread, other.cursor() as cursor:
        cursor.execute(first)
        resetting = thread.submit(reset)
        waits = "SELECT 1 FROM pg_locks WHERE NOT granted AND relation IS NOT NULL"
        wait_for(lambda: sql(waits) or resetting.done())
        # In this order the routes' statements take their locks.
        cursor.execute(second)
        other.rollback()
        resetting.result()
    assert rows(sql) == TEST_SEED


def test_reset_in_production_asks_for_a_yes(
    sql: Sql, flask: Run, prepare: Callable[[str], None]
) -> None:
    prepare("test")
    for app_env in ("production", None):
        ended = flask("flask db reset", APP_ENV=app_env)
        assert_failed(ended)
        assert "--yes" in ended.stderr
        assert rows(sql) == TEST_SEED
    ended = flask("flask db reset --yes", APP_ENV="production")
    assert (ended.returncode, ended.stderr) == (0, "")
    assert [len(listed) for listed in rows(sql).values()] == [5, 25, 10, 0, 25]


def test_a_reset_that_fails_leaves_everything_as_it_was(
    sql: Sql, flask: Run, prepare: Callable[[str], None]
) -> None:
    prepare("test")
    make_a_drop_fail_in_the_middle(sql)
    ended = flask("flask db reset")
    assert_failed(ended)
    assert rows(sql) == TEST_SEED
    assert additions(sql) == (TRIGGERS, INDEXES)


def make_a_drop_fail_in_the_middle(sql: Sql) -> None:
    """Make DROP FUNCTION fail, which comes after DROP TABLE: the name is ambiguous."""
    sql("CREATE FUNCTION notify_table_change(integer) RETURNS integer LANGUAGE sql AS 'SELECT 1'")


def test_reset_of_a_database_that_cannot_be_reached_fails_in_words(flask: Run) -> None:
    url = f"postgresql://ada:secret@127.0.0.1:{free_port()}/x"
    assert_failed(flask("flask db reset", DATABASE_URL=url))


# GET /api/debug/reset


@pytest.mark.parametrize("path", ["/api/debug/reset", "/api/debug/reset/"])
@pytest.mark.parametrize("name", ["development", "test"])
def test_debug_reset_starts_over(
    sql: Sql, app_of: Callable[[str], Flask], name: str, path: str
) -> None:
    client = app_of(name).test_client()
    for _ in range(2):
        response = client.get(path)
        assert (response.status_code, response.data) == (200, b"Database Reset")
        assert response.mimetype == "text/plain"
        stored = rows(sql)
        assert stored == TEST_SEED if name == "test" else len(stored["interviews"]) == 10
        sql("DELETE FROM days")


def test_after_a_debug_reset_every_read_shows_the_seed(app_of: Callable[[str], Flask]) -> None:
    client = app_of("test").test_client()
    assert client.get("/api/debug/reset").status_code == 200
    paths = ["/api/days", "/api/appointments", "/api/interviewers"]
    before = [client.get(path).json for path in paths]
    for _ in range(10):
        assert client.delete("/api/appointments/1").status_code == 204
        assert client.get(paths[1]).get_json()["1"]["interview"] is None
        assert client.get("/api/debug/reset").status_code == 200
        assert [client.get(path).json for path in paths] == before


@pytest.mark.parametrize("path", ["/api/debug/reset", "/api/debug/reset/"])
def test_in_production_there_is_no_debug_reset(
    sql: Sql, prepare: Callable[[str], None], app_of: Callable[[str], Flask], path: str
) -> None:
    prepare("test")
    client = app_of("production").test_client()
    for method in ("GET", "HEAD", "POST", "OPTIONS"):
        assert client.open(path, method=method).status_code == 404
    assert client.get(path).json == {
        "type": "about:blank",
        "title": "Not Found",
        "status": 404,
        "detail": client.get("/nowhere").get_json()["detail"],
    }
    assert rows(sql) == TEST_SEED


def test_a_debug_reset_that_fails_leaves_everything_as_it_was(
    sql: Sql, prepare: Callable[[str], None], app_of: Callable[[str], Flask]
) -> None:
    prepare("test")
    make_a_drop_fail_in_the_middle(sql)
    response = app_of("test").test_client().get("/api/debug/reset")
    assert (response.status_code, response.mimetype) == (500, "application/problem+json")
    assert rows(sql) == TEST_SEED


# Each file with psql


@pytest.fixture
def psql(database_url: str) -> Callable[[str], subprocess.CompletedProcess[str]]:
    """Runs a file of db/schema with psql, which goes on after an error unless told otherwise."""
    program = which("psql")
    if not program:
        pytest.skip("psql is not on PATH")

    def run(name: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [program, "--no-psqlrc", "--quiet", "-d", database_url, "-f", f"db/schema/{name}.sql"],
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    return run


@pytest.mark.parametrize("seed", ENVIRONMENTS)
def test_each_file_runs_twice_with_psql(sql: Sql, psql: Run, seed: str) -> None:
    for name in ("drop", "drop", "create", "create", seed):
        ended = psql(name)
        assert (name, ended.returncode, ended.stderr) == (name, 0, "")
    stored = rows(sql)
    assert len(stored["days"]) == (2 if seed == "test" else 5)
    assert psql(seed).stderr == ""
    assert rows(sql) == stored
    assert additions(sql) == (TRIGGERS, INDEXES)
    assert psql("drop").stderr == ""
    assert existing(sql) == []


def test_psql_and_prepare_make_the_same(
    sql: Sql, psql: Run, prepare: Callable[[str], None]
) -> None:
    psql("create")
    psql("test")
    by_psql = rows(sql), additions(sql)
    psql("drop")
    prepare("test")
    assert (rows(sql), additions(sql)) == by_psql


def test_create_is_all_or_nothing(sql: Sql, psql: Run) -> None:
    sql("CREATE VIEW interviewers AS SELECT 1 AS id")
    assert "ERROR" in psql("create").stderr
    assert existing(sql) == []
    assert sql("SELECT proname FROM pg_proc WHERE pronamespace = 'public'::regnamespace") == []


@pytest.mark.parametrize("seed", ENVIRONMENTS)
def test_a_seed_is_all_or_nothing(sql: Sql, psql: Run, seed: str) -> None:
    psql("create")
    sql("ALTER TABLE available_interviewers ADD CHECK (day_id <> 2)")
    assert "ERROR" in psql(seed).stderr
    assert rows(sql) == EMPTY


def test_drop_is_all_or_nothing(sql: Sql, psql: Run, prepare: Callable[[str], None]) -> None:
    prepare("test")
    make_a_drop_fail_in_the_middle(sql)
    assert "ERROR" in psql("drop").stderr
    assert rows(sql) == TEST_SEED
    assert additions(sql) == (TRIGGERS, INDEXES)


# A database that the Node server made

NODE_TABLES = """
    CREATE TABLE days (
      id SERIAL PRIMARY KEY NOT NULL,
      name VARCHAR(255) NOT NULL
    );
    CREATE TABLE appointments (
      id SERIAL PRIMARY KEY NOT NULL,
      time VARCHAR(255) NOT NULL,
      day_id INTEGER REFERENCES days(id) ON DELETE CASCADE
    );
    CREATE TABLE interviewers (
      id SERIAL PRIMARY KEY NOT NULL,
      name VARCHAR(255) NOT NULL,
      avatar VARCHAR(255) NOT NULL
    );
    CREATE TABLE interviews (
      id SERIAL PRIMARY KEY NOT NULL,
      student VARCHAR(255) NOT NULL,
      interviewer_id INTEGER REFERENCES interviewers(id) ON DELETE CASCADE,
      appointment_id INTEGER UNIQUE REFERENCES appointments(id) ON DELETE CASCADE
    );
    CREATE TABLE available_interviewers (
      id SERIAL PRIMARY KEY NOT NULL,
      day_id INTEGER REFERENCES days(id) ON DELETE CASCADE,
      interviewer_id INTEGER REFERENCES interviewers(id) ON DELETE CASCADE
    );
"""
NODE_ROWS = """
    INSERT INTO days (name) VALUES ('Monday'), ('Tuesday');
    INSERT INTO appointments (time, day_id) VALUES ('12pm', 1), ('1pm', 1), ('12pm', 2);
    INSERT INTO interviewers (name, avatar) VALUES ('Zoë', 'https://i.example/z.png'), ('Bo', '');
    INSERT INTO available_interviewers (day_id, interviewer_id) VALUES (1, 2), (1, 1), (1, 2);
    INSERT INTO interviews (student, interviewer_id, appointment_id)
    VALUES ('Ada', 2, 3), ('Old', NULL, 1), ('Nowhere', 1, NULL);
"""
NODE_DAYS = [
    {"id": 1, "name": "Monday", "appointments": [1, 2], "interviewers": [1, 2], "spots": 1},
    {"id": 2, "name": "Tuesday", "appointments": [3], "interviewers": [], "spots": 0},
]
NODE_APPOINTMENTS = {
    "1": {"id": 1, "time": "12pm", "interview": {"student": "Old", "interviewer": None}},
    "2": {"id": 2, "time": "1pm", "interview": None},
    "3": {"id": 3, "time": "12pm", "interview": {"student": "Ada", "interviewer": 2}},
}
NODE_INTERVIEWERS = {
    "1": {"id": 1, "name": "Zoë", "avatar": "https://i.example/z.png"},
    "2": {"id": 2, "name": "Bo", "avatar": ""},
}
BOOKING = {"interview": {"student": "Eve", "interviewer": 1}}


def assert_serves_the_node_database(client: FlaskClient) -> None:
    assert client.get("/api/days").json == NODE_DAYS
    assert client.get("/api/appointments").json == NODE_APPOINTMENTS
    assert client.get("/api/interviewers").json == NODE_INTERVIEWERS
    assert client.put("/api/appointments/2", json=BOOKING).status_code == 204
    now = {**NODE_APPOINTMENTS, "2": {"id": 2, "time": "1pm", **BOOKING}}
    assert client.get("/api/appointments").json == now
    assert client.delete("/api/appointments/2").status_code == 204
    assert client.get("/api/appointments").json == NODE_APPOINTMENTS


@pytest.mark.parametrize("name", ENVIRONMENTS)
def test_prepare_completes_a_database_of_the_node_server_and_loses_nothing(
    sql: Sql, flask: Run, app_of: Callable[[str], Flask], name: str
) -> None:
    sql(NODE_TABLES + NODE_ROWS)
    before = rows(sql)
    ended = flask(RELEASE, APP_ENV=name)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert rows(sql) == before
    assert additions(sql) == (TRIGGERS, INDEXES)
    assert_serves_the_node_database(app_of(name).test_client())


def test_a_database_of_the_node_server_is_served_as_it_is(
    sql: Sql, app_of: Callable[[str], Flask]
) -> None:
    sql(NODE_TABLES + NODE_ROWS)
    assert_serves_the_node_database(app_of("production").test_client())
    assert additions(sql) == ([], [])


def test_an_empty_database_of_the_node_server_is_seeded(
    sql: Sql, prepare: Callable[[str], None]
) -> None:
    sql(NODE_TABLES)
    prepare("test")
    assert rows(sql) == TEST_SEED


def test_prepare_of_a_database_in_use_gives_up_rather_than_hold_everybody_up(
    sql: Sql, flask: Run, other: pool.Connection
) -> None:
    sql(NODE_TABLES + NODE_ROWS)
    before = rows(sql)
    with other.cursor() as cursor:
        cursor.execute("UPDATE interviews SET student = 'Eve'")
    started = time.monotonic()
    ended = flask(RELEASE)
    assert time.monotonic() - started < 25
    assert_failed(ended)
    other.rollback()
    assert rows(sql) == before
    assert flask(RELEASE).returncode == 0
    assert additions(sql) == (TRIGGERS, INDEXES)


def test_the_release_and_web_lines_do_for_a_new_database(
    flask: Run, serve: Callable[..., Server]
) -> None:
    assert flask(RELEASE).returncode == 0
    with urlopen(f"{serve().url}/api/appointments", timeout=10) as response:
        listed = json.load(response)
    assert listed["1"] == {
        "id": 1,
        "time": "12pm",
        "interview": {"student": "Archie Cohen", "interviewer": 1},
    }
