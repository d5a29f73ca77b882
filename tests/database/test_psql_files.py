"""Each file of db/schema with psql."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.support.database import Sql
from tests.support.project import Run
from tests.support.tables import (
    ENVIRONMENTS,
    INDEXES,
    NO_ROWS,
    TEST_SEED,
    TRIGGERS,
    additions,
    existing,
    make_a_drop_fail_in_the_middle,
    rows,
)

pytestmark = pytest.mark.usefixtures("clean_slate")


@pytest.mark.parametrize("seed", ENVIRONMENTS)
def test_each_file_runs_twice_with_psql(sql: Sql, psql: Run, seed: str) -> None:
    finished = psql("drop", "drop", "create", "create", seed)
    assert (finished.returncode, finished.stderr) == (0, "")
    stored = rows(sql)
    assert len(stored["days"]) == (2 if seed == "test" else 5)
    assert psql(seed).stderr == ""
    assert rows(sql) == stored
    assert additions(sql) == (TRIGGERS, INDEXES)
    assert psql("drop").stderr == ""
    assert existing(sql) == []


def test_psql_and_prepare_create_the_same_database(
    sql: Sql, psql: Run, prepare: Callable[[str], None]
) -> None:
    psql("create", "test")
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
    assert rows(sql) == NO_ROWS


def test_drop_is_all_or_nothing(sql: Sql, psql: Run, prepare: Callable[[str], None]) -> None:
    prepare("test")
    make_a_drop_fail_in_the_middle(sql)
    assert "ERROR" in psql("drop").stderr
    assert rows(sql) == TEST_SEED
    assert additions(sql) == (TRIGGERS, INDEXES)
