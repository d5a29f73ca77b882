"""One application for all tests of a module; each test starts on a fresh seed."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from flask import Flask

from app import create_app
from tests.support.database import Sql, Tables, connected, refill
from tests.support.server import Serve, Server
from tests.support.tables import rows


@pytest.fixture(scope="module")
def application(tables: None, database_url: str) -> Iterator[Flask]:
    """One application for all tests of this module. They leave the schema as it is."""
    app = create_app({"DATABASE_URL": database_url, "APP_ENV": "test"})
    yield app
    app.extensions["change_listener"].stop()


@pytest.fixture(scope="module")
def sql(database_url: str) -> Iterator[Sql]:
    """Run statements in the module's database."""
    with connected(database_url) as run:
        yield run


@pytest.fixture
def app(application: Flask, sql: Sql) -> Flask:
    """That application, on a freshly seeded database."""
    refill(sql)
    return application


@pytest.fixture(scope="module")
def server(application: Flask, serve_module: Serve) -> Server:
    """The real server, on the same database."""
    return serve_module(WEB_CONCURRENCY="1")


@pytest.fixture
def stored_rows(sql: Sql) -> Tables:
    """Returns all rows of all tables."""
    return lambda: rows(sql)
