"""Invalid settings stop the server at start-up, in one line; valid ones are logged.

WEB_CONCURRENCY is left out: gunicorn reads it from the environment before any file of
ours, and ends with a traceback that names it if it is not a number.
"""

from __future__ import annotations

import time

import pytest

from app.config import SETTINGS
from tests.support.pace import is_within
from tests.support.project import assert_failed, procfile, run
from tests.support.server import Serve, free_port


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("PORT", "eighty"),
        ("DATABASE_URL", "mysql://ada:secret@db.example/x"),
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


def test_an_invalid_setting_stops_flask_with_a_clear_message() -> None:
    ended = run(procfile()["release"], {"DATABASE_URL": "mysql://ada:secret@db.example/x"})
    assert_failed(ended)
    assert "DATABASE_URL" in ended.stderr


def test_the_server_starts_if_every_setting_is_blank(serve: Serve) -> None:
    port = str(free_port())
    blank = {setting.name: "" for setting in SETTINGS if setting.name != "WEB_CONCURRENCY"}
    url = f"postgresql://ada:secret@127.0.0.1:{free_port()}/x"
    server = serve(**{**blank, "PORT": port, "DATABASE_URL": url})
    (line,) = (line for line in server.log.splitlines() if "msg=started" in line)
    assert {"environment=production", f"port={port}", "workers=2", "pool=3"} <= set(line.split())
