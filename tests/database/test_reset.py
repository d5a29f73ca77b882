"""drop.sql, `flask db reset` and GET /api/debug/reset."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
from flask import Flask

from app.database import schema
from app.database.connection import DatabaseConnection
from tests.support.database import Sql
from tests.support.project import Run, assert_failed
from tests.support.server import free_port
from tests.support.tables import (
    INDEXES,
    LOCKS_IN_ORDER,
    TEST_SEED,
    TRIGGERS,
    additions,
    existing,
    make_a_drop_fail_in_the_middle,
    rows,
)
from tests.support.waiting import wait_for

pytestmark = pytest.mark.usefixtures("clean_slate")


def test_drop_removes_only_what_create_made(sql: Sql, prepare: Callable[[str], None]) -> None:
    sql("CREATE TABLE notes (id INTEGER)")
    prepare("test")
    for _ in range(2):
        sql((schema.SCHEMA / "drop.sql").read_text())
        assert existing(sql) == ["notes"]
        assert sql("SELECT proname FROM pg_proc WHERE pronamespace = 'public'::regnamespace") == []


@pytest.mark.parametrize("name", ["development", "test"])
def test_reset_restores_the_seed(
    sql: Sql, app_of: Callable[[str], Flask], prepare: Callable[[str], None], name: str
) -> None:
    prepare("test")
    sql("DELETE FROM days")
    result = app_of(name).test_cli_runner().invoke(args=["db", "reset"])
    assert (result.exit_code, result.output) == (0, f"Reset, with the seed for {name}.\n")
    stored = rows(sql)
    assert stored == TEST_SEED if name == "test" else len(stored["interviews"]) == 10
    assert additions(sql) == (TRIGGERS, INDEXES)


@pytest.mark.parametrize(("first", "second"), LOCKS_IN_ORDER)
def test_a_reset_waits_for_readers_and_writers_without_deadlock(
    sql: Sql, app_of: Callable[[str], Flask], other: DatabaseConnection, first: str, second: str
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
        cursor.execute(second)
        other.rollback()
        resetting.result()
    assert rows(sql) == TEST_SEED


def test_reset_in_production_requires_yes(
    sql: Sql, run_command: Run, prepare: Callable[[str], None]
) -> None:
    prepare("test")
    for app_env in ("production", None):
        finished = run_command("flask db reset", APP_ENV=app_env)
        assert_failed(finished)
        assert "--yes" in finished.stderr
        assert rows(sql) == TEST_SEED
    finished = run_command("flask db reset --yes", APP_ENV="production")
    assert (finished.returncode, finished.stdout, finished.stderr) == (
        0,
        "Reset, with the seed for production.\n",
        "",
    )
    assert [len(listed) for listed in rows(sql).values()] == [5, 25, 10, 0, 25]


def test_a_reset_that_fails_leaves_everything_as_it_was(
    sql: Sql, run_command: Run, prepare: Callable[[str], None]
) -> None:
    prepare("test")
    make_a_drop_fail_in_the_middle(sql)
    finished = run_command("flask db reset")
    assert_failed(finished)
    assert rows(sql) == TEST_SEED
    assert additions(sql) == (TRIGGERS, INDEXES)


def test_reset_reports_an_unreachable_database(run_command: Run) -> None:
    url = f"postgresql://ada:secret@127.0.0.1:{free_port()}/x"
    assert_failed(run_command("flask db reset", DATABASE_URL=url))


@pytest.mark.parametrize("path", ["/api/debug/reset", "/api/debug/reset/"])
@pytest.mark.parametrize("name", ["development", "test"])
def test_debug_reset_restores_the_seed(
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
