"""The README's examples work as written, and its pictures exist."""

from __future__ import annotations

import re
import subprocess
from typing import Any

import pytest

from app import create_app
from app.database import schema
from tests.support import tools
from tests.support.project import ROOT

README = (ROOT / "README.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"```console\n\$ (.+?[^\\])\n(.+?)\n```", README, re.DOTALL)


@pytest.fixture
def environ(database_url: str) -> dict[str, str]:
    """`bin/dev` runs the development environment."""
    return {"DATABASE_URL": database_url, "APP_ENV": "development"}


def test_every_command_prints_what_is_shown(serve: Any, environ: dict[str, str]) -> None:
    tools.program("curl")
    with create_app(environ).app_context():
        schema.reset()
    server = serve()
    assert len(EXAMPLES) == 4
    for command, shown in EXAMPLES:
        assert "localhost:8001" in command
        printed = subprocess.run(
            ["sh", "-c", command.replace("localhost:8001", f"127.0.0.1:{server.port}")],
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        # The seed of the days is random.
        is_random = command.endswith("/api/days")
        assert printed.strip().startswith('[{"id":1') if is_random else printed.strip() == shown


@pytest.mark.parametrize("path", re.findall(r'(?:src|srcset)="([^"]+)"', README))
def test_every_picture_exists(path: str) -> None:
    assert (ROOT / path).is_file()
