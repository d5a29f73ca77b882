"""A database made by the Node server works unchanged, and `flask db prepare` completes it."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
from flask import Flask
from flask.testing import FlaskClient

from app.database import schema
from app.database.connection import DatabaseConnection
from tests.support.database import Sql
from tests.support.pace import within
from tests.support.tables import (
    ENVIRONMENTS,
    INDEXES,
    TEST_SEED,
    TRIGGERS,
    additions,
    rows,
)

pytestmark = pytest.mark.usefixtures("clean_slate")


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
    sql: Sql, prepare: Callable[[str], None], app_of: Callable[[str], Flask], name: str
) -> None:
    sql(NODE_TABLES + NODE_ROWS)
    before = rows(sql)
    prepare(name)
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


def test_prepare_of_a_busy_database_gives_up_rather_than_block_others(
    sql: Sql,
    app_of: Callable[[str], Flask],
    other: DatabaseConnection,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    files = shutil.copytree(schema.SCHEMA, tmp_path / "schema")
    create = (files / "create.sql").read_text(encoding="utf-8")
    assert "lock_timeout = '10s'" in create
    # A shorter wait proves the same.
    (files / "create.sql").write_text(create.replace("'10s'", "'1s'"), encoding="utf-8")
    monkeypatch.setattr(schema, "SCHEMA", files)
    sql(NODE_TABLES + NODE_ROWS)
    before = rows(sql)
    with other.cursor() as cursor:
        cursor.execute("UPDATE interviews SET student = 'Eve'")
    prepare = partial(app_of("test").test_cli_runner().invoke, args=["db", "prepare"])
    with within(1 + 5):
        result = prepare()
    assert result.exit_code == 1
    assert result.output.startswith("The database could not be prepared: ")
    assert "lock timeout" in result.output
    other.rollback()
    assert rows(sql) == before
    assert prepare().exit_code == 0
    assert additions(sql) == (TRIGGERS, INDEXES)
