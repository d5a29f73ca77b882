"""One application for all tests of a module; each test starts on a fresh seed."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from flask import Flask

from app import create_app
from tests.support.database import Sql, Tables, refill, reseed
from tests.support.server import Serve, Server


@pytest.fixture(scope="module")
def application(database_url: str) -> Iterator[Flask]:
    """One application for all tests of this module, none of which changes the tables."""
    app = create_app({"DATABASE_URL": database_url, "APP_ENV": "test"})
    reseed(app)
    yield app
    app.extensions["change_listener"].stop()


@pytest.fixture
def app(application: Flask, sql: Sql) -> Flask:
    """That application, on a freshly seeded database."""
    refill(sql)
    return application


@pytest.fixture(scope="module")
def server(application: Flask, serve_module: Serve) -> Server:
    """The real server, on the same database."""
    return serve_module()


@pytest.fixture
def tables(sql: Sql) -> Tables:
    """Return all rows of all tables."""
    names = ["days", "appointments", "interviewers", "interviews", "available_interviewers"]
    return lambda: {name: sql(f"SELECT * FROM {name} ORDER BY id") for name in names}
