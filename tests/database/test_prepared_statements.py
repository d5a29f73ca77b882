"""Writes are prepared once for each connection, and again if the connection has lost them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

from app.database.connection import DatabaseConnection
from tests.support.database import Sql
from tests.support.http import booking

PATH = "/api/appointments/2"


@pytest.fixture
def write(client: FlaskClient) -> Callable[[], None]:
    """Books and cancels an appointment."""

    def run() -> None:
        assert client.put(PATH, json=booking("Ada")).status_code == 204
        assert client.delete(PATH).status_code == 204

    return run


@pytest.fixture
def connection(app: Flask, write: Callable[[], None]) -> DatabaseConnection:
    """The connection that the writes use, after the first ones."""
    write()
    (connection,) = app.extensions["pool"]._idle
    assert isinstance(connection, DatabaseConnection)
    return connection


def run(connection: DatabaseConnection, statement: str) -> list[Any]:
    connection.deadline += 3600
    with connection.cursor() as cursor:
        cursor.execute(statement)
        return cursor.fetchall() if cursor.description else []


def test_each_statement_is_prepared_once(
    connection: DatabaseConnection, write: Callable[[], None]
) -> None:
    for _ in range(5):
        write()
    plans = "SELECT generic_plans + custom_plans AS plans FROM pg_prepared_statements"
    assert [row.plans for row in run(connection, plans)] == [6, 6]


def test_statements_that_another_backend_does_not_know_are_prepared_again(
    app: Flask, connection: DatabaseConnection, write: Callable[[], None]
) -> None:
    # A pooler in transaction mode may switch to another backend.
    run(connection, "DEALLOCATE ALL")
    write()
    assert connection not in app.extensions["pool"]._idle


def test_a_statement_that_another_client_has_prepared_on_a_backend_is_used(
    app: Flask, connection: DatabaseConnection, write: Callable[[], None]
) -> None:
    connection._prepared.clear()
    write()
    assert connection in app.extensions["pool"]._idle


def test_a_changed_table_is_planned_again(
    connection: DatabaseConnection, write: Callable[[], None], sql: Sql
) -> None:
    sql("ALTER TABLE interviews ADD note text")
    write()
    sql("DROP INDEX interviews_interviewer_id_index")
    write()
    assert len(run(connection, "SELECT name FROM pg_prepared_statements")) == 2
