"""The server that the tests of live updates share."""

from __future__ import annotations

import pytest

from tests.support.database import Sql, refill
from tests.support.server import Server
from tests.support.websocket import MARKED, listening


@pytest.fixture
def seeded(tables: None, sql: Sql) -> None:
    """A freshly seeded database, with the appointment for marks."""
    refill(sql)
    sql(f"INSERT INTO appointments VALUES ({MARKED}, 'now', 1)")
    sql(f"INSERT INTO interviews VALUES (DEFAULT, 'mark', 1, {MARKED})")


@pytest.fixture
def server(shared: Server, seeded: None, sql: Sql) -> Server:
    """The real server on a freshly seeded database, after it has broadcast the seed."""
    with listening(shared, sql):
        return shared
