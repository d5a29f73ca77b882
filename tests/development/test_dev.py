"""bin/dev: what it serves and says, and how it starts again after a change."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import socket
import subprocess
from collections.abc import Iterator
from typing import Any
from urllib.error import HTTPError
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

import pytest
from websockets.sync.client import connect

from tests.support.development import Checkout, Dev
from tests.support.server import free_port
from tests.support.waiting import wait_for


def get(url: str) -> str:
    with urlopen(url, timeout=30) as response:
        return str(response.read().decode())


@pytest.fixture(scope="module")
def dev(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Dev]:
    """bin/dev in a copy of the repository, used by the tests that change nothing in it."""
    checkout = Checkout(tmp_path_factory.mktemp("dev") / "checkout")
    # None of these says where a database is, and libpq would read them.
    strange = {"PGUSER": "nobody-of-that-name", "PGSERVICE": "x", "PGHOSTADDR": "203.0.113.1"}
    strange |= {"DATABASE_URL": "", "PGHOST": " ", "APP_ENV": " ", "WEB_CONCURRENCY": ""}
    browser = checkout.path / "browser"
    browser.write_text('#!/bin/sh\necho "$1" >"$0.opened"\n')
    browser.chmod(0o755)
    strange |= {"BROWSER": str(browser), "CORS_ORIGINS": "http://localhost:8000"}
    with Dev(checkout, strange, "--open") as dev:
        yield dev.wait_until_ready()


def test_the_summary_is_aligned_and_follows_everything_else(dev: Dev) -> None:
    _, _, summary = dev.output.partition("\n\n")
    rows = [row for row in summary.partition("\n\n")[0].splitlines() if row]
    assert len({re.match(r"  \w+( \w+)*  +", row).end() for row in rows}) == 1  # type: ignore[union-attr]
    names = [row[2:15].strip() for row in rows]
    assert names[:4] == ["Client", "API", "API reference", "Live updates"]
    assert names[4:] == ["Database", "Reset", "Stop"]
    assert dev.output.index("listening for changes") < dev.output.index("  Client")


def test_the_api_listens_on_both_loopback_addresses(dev: Dev) -> None:
    port = urlsplit(dev.api).port
    for host in ("127.0.0.1", "[::1]"):
        assert len(json.loads(get(f"http://{host}:{port}/api/days"))) == 5
    assert get(dev.value("API")) == get(f"{dev.api}/api/days")


def test_the_summary_says_how_to_reset(dev: Dev) -> None:
    assert dev.value("Reset") == f"curl {dev.api}/api/debug/reset"
    assert get(dev.value("Reset").removeprefix("curl ")) == "Database Reset"


def test_the_client_is_served_and_knows_the_api(dev: Dev) -> None:
    with urlopen(dev.value("Client"), timeout=30) as response:
        assert response.url.endswith(f"/?api={dev.api}")
        page = response.read().decode()
    for script in re.findall(r'(?:src|href)="(?:\./)?([\w.]+\.(?:js|css))"', page):
        assert get(f"{dev.value('Client')}/{script}")


def test_open_shows_the_client_in_a_browser(dev: Dev) -> None:
    opened = dev.checkout.path / "browser.opened"
    wait_for(opened.exists)
    assert opened.read_text() == f"{dev.value('Client')}\n"


def test_a_client_that_may_not_call_the_api_is_announced(dev: Dev) -> None:
    dev.wait_for(f"CORS_ORIGINS does not include {dev.value('Client')}")


def test_the_reference_is_served_offline_and_asks_this_api(dev: Dev) -> None:
    reference = dev.value("API reference")
    page = get(reference)
    assert "://" not in page
    for file in re.findall(r'(?:src|href)="([^"]+)"', page):
        with urlopen(reference + file, timeout=30) as response:
            assert response.read()
    document = get(f"{reference}openapi.yaml")
    assert f"servers:\n  - url: {dev.api}\n" in document
    assert document.count("url: http://localhost") == 1
    assert get(reference.rstrip("/")) == page


@pytest.mark.parametrize("path", ["/../../app/config.py", "/reference/../../../x", "/nothing"])
def test_nothing_else_is_served(dev: Dev, path: str) -> None:
    client = urlsplit(dev.value("Client"))
    with socket.create_connection(("127.0.0.1", client.port or 0), 10) as connection:
        connection.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
        assert connection.recv(100).startswith(b"HTTP/1.1 404")


def test_the_psql_command_opens_the_database(dev: Dev) -> None:
    command = [*shlex.split(dev.value("Database")), "-Atc", "SELECT count(*) FROM days"]
    if not shutil.which("psql"):
        assert command[0].startswith(".venv")
        command[0] = str(dev.checkout.path / command[0])
    finished = subprocess.run(command, capture_output=True, text=True, check=True)
    assert finished.stdout == "5\n"


def test_live_updates_arrive_at_the_address_in_the_summary(dev: Dev) -> None:
    with connect(dev.value("Live updates")) as websocket:
        body = json.dumps({"interview": {"student": "Ada", "interviewer": 1}}).encode()
        headers = {"Content-Type": "application/json"}
        url = f"{dev.api}/api/appointments/1"
        with urlopen(Request(url, body, headers, method="PUT"), timeout=30) as response:
            assert response.status == 204
        assert json.loads(websocket.recv(10))["id"] == 1


def test_a_request_is_one_readable_line_without_colour_outside_a_terminal(dev: Dev) -> None:
    get(f"{dev.api}/api/interviewers")
    dev.wait_for("/api/interviewers")
    lines = [line for line in dev.output.splitlines() if "/api/interviewers" in line]
    assert re.fullmatch(r"\d\d:\d\d:\d\d  GET +200 +\d+\.\d ms  /api/interviewers", lines[-1])
    assert "\x1b" not in dev.output


def test_a_second_one_in_the_same_checkout_is_refused_and_the_first_keeps_running(dev: Dev) -> None:
    with Dev(dev.checkout) as second:
        assert second.finish() == 1
    assert "already" in second.output
    assert str(dev.process.pid) in second.output
    assert "Traceback" not in second.output
    assert get(f"{dev.api}/api/days")


def test_a_port_in_use_is_refused_with_a_hint(checkout: Checkout) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = str(other.getsockname()[1])
        with Dev(checkout, {"PORT": port}) as dev:
            assert dev.finish() == 1
    assert f"port {port} is in use" in dev.output
    assert "PORT=" in dev.output


@pytest.mark.usefixtures("data")
def test_it_starts_again_when_code_sql_or_env_change(checkout: Checkout, database_url: str) -> None:
    with Dev(checkout) as dev:
        dev.wait_until_ready()
        assert "psql" in dev.value("Database")
        worker = checkout.path / "app" / "server" / "worker.py"
        code = worker.read_text()
        worker.write_text(code + "\nthis is a syntax error\n")
        dev.wait_for("app/server/worker.py changed")
        dev.wait_for("starts again when a file changes")
        assert "SyntaxError" in dev.output
        worker.write_text(code)
        days = checkout.path / "app" / "api" / "days.py"
        code = days.read_text()
        days.write_text(code + "\nbp.add_url_rule('/new', view_func=lambda: 'new')\n")
        wait_for(lambda: _status(f"{dev.api}/new") == 200)

        sql = checkout.path / "db" / "schema" / "create.sql"
        text = sql.read_text()
        sql.write_text(text.replace("\nCOMMIT;", "\nCREATE TABLE IF NOT EXISTS extra ();\nCOMMIT;"))
        prepared = dev.output.count("Prepared")
        dev.wait_for("create.sql changed")
        dev.wait_for("Prepared", times=prepared + 1)

        (checkout.path / ".env").write_text("SAVE_DELAY=soon\n")
        dev.wait_for('SAVE_DELAY must be a number of seconds from 0 to 25, not "soon"')
        settings = {"TEST_ERROR": "on", "PORT": dev.environ["PORT"], "DATABASE_URL": database_url}
        lines = "".join(f"{name}={value}\n" for name, value in settings.items())
        (checkout.path / ".env").write_text(lines)
        wait_for(lambda: _status(f"{dev.api}/api/appointments/1", method="DELETE") == 500)
        # The summary is shown again, without the embedded database.
        dev.wait_for("  Stop  ", times=2)
        assert dev.output.count("  Database  ") == 1
        assert dev.output.count("starts again when a file changes") == 2


def _status(url: str, **request: Any) -> int:
    try:
        with urlopen(Request(url, **request), timeout=30) as response:
            return int(response.status)
    except HTTPError as error:
        return error.code
    except OSError:
        return 0


@pytest.mark.parametrize("where", ["the environment", ".env", ".env.development"])
def test_an_unreachable_database_is_reported_with_the_source_of_its_setting(
    checkout: Checkout, where: str
) -> None:
    port = str(free_port())
    settings = {"PGHOST": "127.0.0.1", "PGPORT": port, "PGPASSWORD": "s3cret"}
    if where != "the environment":
        lines = "".join(f"{name}={value}\n" for name, value in settings.items())
        (checkout.path / where).write_text(lines)
        settings = {}
    with Dev(checkout, settings) as dev:
        assert dev.finish() == 1
    assert f"The database could not be prepared: 127.0.0.1:{port}: " in dev.output
    assert f"PGHOST in {where}" in dev.output
    assert "s3cret" not in dev.output
    assert "Traceback" not in dev.output


def test_a_remote_database_is_announced_at_the_start(checkout: Checkout) -> None:
    (checkout.path / ".env").write_text("DATABASE_URL=postgres://u:s3cret@203.0.113.1/bookings\n")
    with Dev(checkout) as dev:
        dev.wait_for("debug/reset is refused")
    assert "bookings on 203.0.113.1:5432: DATABASE_URL in .env" in dev.output
    assert "s3cret" not in dev.output


def test_an_invalid_setting_is_refused_in_one_line(checkout: Checkout) -> None:
    with Dev(checkout, {"APP_ENV": "nonsense"}) as dev:
        assert dev.finish() == 1
    assert dev.output == (
        'Not started: APP_ENV must be production, development or test, not "nonsense"\n'
    )
