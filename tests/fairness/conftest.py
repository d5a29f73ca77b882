"""A seeded database for the tests with hostile clients."""

from __future__ import annotations

import pytest

from app import create_app
from tests.support.database import reseed


@pytest.fixture
def seeded(environ: dict[str, str]) -> None:
    """The test seed, without the changes of other tests."""
    reseed(create_app(environ))
