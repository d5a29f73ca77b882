"""A seeded database for the server."""

from __future__ import annotations

import pytest

from tests.support.database import Sql, refill


@pytest.fixture
def seeded(tables: None, sql: Sql) -> None:
    """A freshly seeded database."""
    refill(sql)
