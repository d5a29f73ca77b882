"""What the tests of bin/dev and bin/test share."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from bin import embedded_postgres
from tests.support import tools
from tests.support.development import Checkout


@pytest.fixture(scope="session", autouse=True)
def _packages() -> None:
    """Skip if only requirements.txt is installed."""
    tools.embedded_postgres_program("postgres")
    for name in ("flask_swagger_ui", "psutil", "watchfiles"):
        tools.package(name)


@pytest.fixture(scope="session")
def copy_data(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Path], None]:
    """Copies the data of an embedded PostgreSQL, made once, to a folder: quicker than initdb."""
    data = tmp_path_factory.mktemp("postgres") / "data"
    with embedded_postgres.running(data):
        pass

    def copy(folder: Path) -> None:
        # With the owner, who is not root.
        subprocess.run(["cp", "-a", str(data), str(folder)], check=True)

    return copy


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    """A copy of the repository."""
    return Checkout(tmp_path / "checkout")


@pytest.fixture
def data(checkout: Checkout, copy_data: Callable[[Path], None]) -> None:
    """Gives that copy an empty database."""
    copy_data(checkout.path / ".postgres")
