"""A seeded database for the tests with hostile clients."""

from __future__ import annotations

import pytest

from app import create_app
from tests.support.database import reseed


@pytest.fixture(scope="module")
def seeded_once(database_url: str) -> None:
    """The test seed, for the tests of a module that may share their changes."""
    reseed(create_app({"DATABASE_URL": database_url, "APP_ENV": "test"}))


@pytest.fixture
def seeded(environ: dict[str, str]) -> None:
    """The test seed, without the changes of other tests."""
    reseed(create_app(environ))
