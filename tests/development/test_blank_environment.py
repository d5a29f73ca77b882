"""bin/dev."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tests.support.http import ask
from tests.support.project import ROOT
from tests.support.server import accepts, free_port
from tests.support.waiting import wait_for


@pytest.mark.parametrize("blank", ["", " "])
def test_for_development_a_blank_environment_is_unset_too(
    environ: dict[str, str], blank: str
) -> None:
    port = free_port()
    process = subprocess.Popen(
        [sys.executable, ROOT / "bin" / "dev.py"],
        env={**os.environ, **environ, "APP_ENV": blank, "PORT": str(port)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        wait_for(lambda: process.poll() is not None or accepts(port))
        # Not there in production.
        assert ask(port, "GET", "/api/debug/reset").status == 200
    finally:
        process.terminate()
        process.wait(10)
