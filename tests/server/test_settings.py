"""Invalid settings stop the server at start-up, in one line; valid ones are logged.

WEB_CONCURRENCY is left out: gunicorn reads it from the environment before any file of
ours, and ends with a traceback that names it if it is not a number.
"""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from app.config import SETTINGS
from tests.support.pace import is_within
from tests.support.project import procfile, run
from tests.support.server import Server, free_port
from tests.support.waiting import wait_for


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("PORT", "eighty"),
        ("APP_ENV", "staging"),
        ("DATABASE_URL", "mysql://ada:secret@db.example/x"),
        ("CORS_ORIGINS", "app.example"),
        ("SAVE_DELAY", "soon"),
    ],
)
def test_an_invalid_setting_stops_the_server_with_one_line(name: str, text: str) -> None:
    started = time.monotonic()
    ended = run(procfile()["web"], {"PORT": str(free_port()), name: text})
    assert ended.returncode != 0
    assert is_within(time.monotonic() - started, 10)
    (line,) = (ended.stdout + ended.stderr).splitlines()
    assert name in line
    assert "secret" not in line


@pytest.mark.parametrize(
    ("name", "text"), [("PORT", "eighty"), ("DATABASE_URL", "mysql://ada:secret@db.example/x")]
)
def test_an_invalid_setting_stops_flask_with_a_clear_message(name: str, text: str) -> None:
    ended = run(procfile()["release"], {name: text})
    assert ended.returncode != 0
    said = ended.stdout + ended.stderr
    assert name in said
    assert "Traceback" not in said
    assert "secret" not in said


def test_the_server_starts_if_every_setting_is_blank(tmp_path: Path) -> None:
    port = free_port()
    blank = {setting.name: "" for setting in SETTINGS if setting.name != "WEB_CONCURRENCY"}
    url = f"postgresql://ada:secret@127.0.0.1:{free_port()}/x"
    server = Server({**blank, "PORT": str(port), "DATABASE_URL": url}, tmp_path / "log")
    try:
        server.wait_until_workers_boot()
        wait_for(lambda: "msg=started" in server.log)
    finally:
        server.stop()
    (line,) = (line for line in server.log.splitlines() if "msg=started" in line)
    assert {"environment=production", f"port={port}", "workers=2", "pool=3"} <= set(line.split())


def test_the_start_is_logged_without_secrets(tmp_path: Path) -> None:
    port = free_port()
    url = f"postgresql://ada:secret@127.0.0.1:{free_port()}/x"
    settings = {
        "PORT": str(port),
        "DATABASE_URL": url,
        "PGPASSWORD": "secret",
        "WEB_CONCURRENCY": "1",
    }
    server = Server(settings, tmp_path / "log")
    try:
        server.wait_until_workers_boot()
        wait_for(lambda: "not listening for changes" in server.log)
    finally:
        server.stop()
    (line,) = (line for line in server.log.splitlines() if "msg=started" in line)
    assert {"environment=production", f"port={port}", "workers=1"} <= set(line.split())
    assert "secret" not in server.log
