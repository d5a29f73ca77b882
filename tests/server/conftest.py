"""A prepared database for the server."""

from __future__ import annotations

import pytest

from app import create_app
from tests.support.database import reseed


@pytest.fixture
def prepared(environ: dict[str, str]) -> None:
    """A freshly seeded database."""
    reseed(create_app(environ))
