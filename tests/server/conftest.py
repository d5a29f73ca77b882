"""A seeded database for the server."""

from __future__ import annotations

import pytest

from app import create_app
from tests.support.database import Sql, refill, reseed


@pytest.fixture(scope="module")
def tables(database_url: str) -> None:
    """Creates and seeds the tables, once per module."""
    reseed(create_app({"DATABASE_URL": database_url, "APP_ENV": "test"}))


@pytest.fixture
def seeded(tables: None, sql: Sql) -> None:
    """A freshly seeded database."""
    refill(sql)
