"""Applications with settings of their own, all on one database of the module."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from flask import Flask
from flask.testing import FlaskClient

from app import create_app
from tests.support.application import MakeApp, MakeClient
from tests.support.database import Sql, connected, refill, reseed
from tests.support.server import Serve, Server


@pytest.fixture(scope="module")
def make_app(database_url: str) -> Iterator[MakeApp]:
    """Create applications; keyword arguments override settings."""
    apps: list[Flask] = []

    def make(**overrides: str) -> Flask:
        apps.append(create_app({"DATABASE_URL": database_url, "APP_ENV": "test", **overrides}))
        return apps[-1]

    yield make
    with ThreadPoolExecutor(len(apps) or 1) as threads:
        list(threads.map(lambda app: app.extensions["change_listener"].stop(), apps))


@pytest.fixture(scope="module")
def application(tables: None, make_app: MakeApp) -> Flask:
    """One application for all tests of this module."""
    return make_app()


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


@pytest.fixture
def restored_schema(application: Flask) -> Iterator[None]:
    """Restores the tables after a test that alters or drops some."""
    yield
    reseed(application)


@pytest.fixture(scope="module")
def make_client(make_app: MakeApp, application: Flask) -> MakeClient:
    """Create clients of applications; keyword arguments override settings."""
    return lambda **overrides: make_app(**overrides).test_client()


@pytest.fixture(scope="module")
def open_client(application: Flask) -> FlaskClient:
    """A client of an application that is open to all origins."""
    return application.test_client()


@pytest.fixture(scope="module")
def listed_client(make_client: MakeClient) -> FlaskClient:
    """A client of an application that is open to two origins."""
    return make_client(CORS_ORIGINS="https://good.example, http://localhost:8000")


@pytest.fixture(scope="module")
def server(application: Flask, serve_module: Serve) -> Server:
    """The real server, with one worker."""
    return serve_module(WEB_CONCURRENCY="1")
