"""Fixtures that prepare, seed and reset a database."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from flask import Flask
from flask.testing import FlaskClient

from app import create_app
from app.database import schema
from app.database.connection import DatabaseConnection
from tests.support import project, tools
from tests.support.database import Sql, patient_connection
from tests.support.project import ROOT
from tests.support.proxy import Proxy


@pytest.fixture
def clean_slate(sql: Sql) -> None:
    """Empty the database."""
    sql("DROP SCHEMA public CASCADE")
    sql("CREATE SCHEMA public")


@pytest.fixture(scope="module")
def app_of(database_url: str) -> Iterator[Callable[[str], Flask]]:
    """Create the application of an environment."""
    apps: list[Flask] = []

    def make(name: str) -> Flask:
        apps.append(create_app({"DATABASE_URL": database_url, "APP_ENV": name}))
        return apps[-1]

    yield make
    with ThreadPoolExecutor(len(apps) or 1) as threads:
        list(threads.map(lambda app: app.extensions["change_listener"].stop(), apps))


@pytest.fixture
def prepare(app_of: Callable[[str], Flask]) -> Callable[[str], None]:
    """Do what `flask db prepare` does in an environment."""

    def run(name: str) -> None:
        with app_of(name).app_context():
            schema.prepare()

    return run


@pytest.fixture
def other(database_url: str) -> Iterator[DatabaseConnection]:
    """Another client's connection, in an open transaction."""
    with patient_connection(database_url) as connection:
        connection.autocommit = False
        yield connection


@pytest.fixture
def client_behind_proxy(app: Flask, proxy: Proxy) -> Iterator[FlaskClient]:
    """A client of an application behind a faulty network, with one connection."""
    behind = create_app({"DATABASE_URL": proxy.url, "APP_ENV": "test", "DB_POOL_SIZE": "1"})
    yield behind.test_client()
    behind.extensions["change_listener"].stop()


@pytest.fixture
def run_command(database_url: str) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run a command of the project; keyword arguments override settings (None unsets one)."""

    def run(command: str, **overrides: str | None) -> subprocess.CompletedProcess[str]:
        settings = {"DATABASE_URL": database_url, "APP_ENV": "test", **overrides}
        given = {name: value for name, value in settings.items() if value is not None}
        return project.run(command, given, timeout=60)

    return run


@pytest.fixture
def psql(database_url: str) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run files of db/schema with psql, which continues after an error by default."""
    program = tools.postgres_program("psql")

    def run(*names: str) -> subprocess.CompletedProcess[str]:
        files = [f"--file=db/schema/{name}.sql" for name in names]
        return subprocess.run(
            [program, "--no-psqlrc", "--quiet", "-d", database_url, *files],
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    return run
