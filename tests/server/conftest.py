"""A prepared database for the server."""

from __future__ import annotations

import pytest

from tests.support.database import Sql
from tests.support.project import ROOT, finish, release


@pytest.fixture
def prepared(environ: dict[str, str], sql: Sql) -> None:
    """The test seed, as the release command makes it."""
    sql((ROOT / "db/schema/drop.sql").read_text())
    assert finish(release(environ))[0] == 0
