"""No request whatever is answered with a 5xx, with what openapi.yaml does not say, or slowly.

schemathesis makes the requests from docs/openapi.yaml, good ones and bad ones, alone
and in sequences, and checks each answer against it.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from app import create_app, schema
from tests.conftest import ROOT, Server

SCHEMATHESIS = Path(sys.executable).with_name("schemathesis")


@pytest.mark.skipif(not SCHEMATHESIS.exists(), reason="schemathesis is not installed")
@pytest.mark.parametrize(
    "examples",
    [pytest.param(20, id="short"), pytest.param(8000, id="long", marks=pytest.mark.slow)],
)
def test_every_answer_is_as_described(
    serve: Callable[..., Server], environ: dict[str, str], examples: int, tmp_path: Path
) -> None:
    with create_app(environ).app_context():
        schema.reset()
    server = serve()
    run = subprocess.run(
        [
            SCHEMATHESIS,
            *("--config-file", ROOT / "tests" / "schemathesis.toml"),
            *("run", ROOT / "docs" / "openapi.yaml", "--url", server.url),
            *("--checks", "all", "--max-response-time", "1", "--max-examples", str(examples)),
            *("--seed", "1", "--no-color"),
        ],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stdout + run.stderr
    assert "at=ERROR" not in server.log
