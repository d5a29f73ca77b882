"""What every part of the benchmark is given."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import NamedTuple

from bench import database
from bench.servers import Server


class Setting(NamedTuple):
    """How long to measure, where the databases are, beside whom."""

    rounds: int
    seconds: float
    cluster_url: str
    against: Sequence[Server]

    def database(self) -> AbstractContextManager[str]:
        """A database of a part's own."""
        return database.database(self.cluster_url)

    @property
    def fillable(self) -> list[Server]:
        """The others whose database may be filled with the same weeks."""
        return [server for server in self.against if server.database_url]
