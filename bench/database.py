"""The PostgreSQL that is measured with, and the weeks that are stored in it."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlencode

import psycopg2
from psycopg2.extensions import parse_dsn

from app.config import ROOT
from bench import procfs
from bin import embedded_postgres


class Week(NamedTuple):
    """How much is stored. Every second slot is booked."""

    days: int
    slots: int
    interviewers: int
    available: int

    @property
    def appointments(self) -> int:
        """The number of its slots; their ids count from one."""
        return self.days * self.slots


# As db/schema/production.sql has it, but the same each time.
TERM = Week(days=5, slots=5, interviewers=10, available=5)

FILL_WEEK = """
    BEGIN;

    TRUNCATE days, appointments, interviewers, interviews, available_interviewers
    RESTART IDENTITY;

    INSERT INTO days (name)
    SELECT (ARRAY['Monday', 'Tuesday', 'Wednesday', 'Thursday', 'Friday'])[1 + (day - 1) %% 5]
    FROM generate_series(1, %(days)s) AS day
    ORDER BY day;

    INSERT INTO appointments (time, day_id)
    SELECT 1 + (slot + 10) %% 12 || 'pm', day
    FROM generate_series(1, %(days)s) AS day
    CROSS JOIN generate_series(1, %(slots)s) AS slot
    ORDER BY day, slot;

    INSERT INTO interviewers (name, avatar)
    SELECT 'Interviewer ' || number, format('/images/interviewers/%%s_d.webp', number)
    FROM generate_series(1, %(interviewers)s) AS number
    ORDER BY number;

    INSERT INTO available_interviewers (day_id, interviewer_id)
    SELECT day, 1 + (day * 7 + number) %% %(interviewers)s
    FROM generate_series(1, %(days)s) AS day
    CROSS JOIN generate_series(1, %(available)s) AS number;

    INSERT INTO interviews (student, interviewer_id, appointment_id)
    SELECT 'Student ' || id, 1 + id %% %(interviewers)s, id
    FROM appointments
    WHERE id %% 2 = 0;

    COMMIT;
"""


@contextmanager
def cluster(folder: Path) -> Iterator[str]:
    """Give the URL of a PostgreSQL where databases may be made and dropped."""
    if url := os.environ.get("BENCH_DATABASE_URL"):
        yield url
        return
    with embedded_postgres.running(folder) as url:
        yield url


@contextmanager
def database(cluster_url: str) -> Iterator[str]:
    """Make a database with the project's tables, empty; give its URL; drop it at the end."""
    name = f"scheduler_bench_{uuid.uuid4().hex[:12]}"
    execute(cluster_url, f"CREATE DATABASE {name}")
    try:
        parts = {key: value for key, value in parse_dsn(cluster_url).items() if key != "dbname"}
        url = f"postgresql:///{name}?{urlencode(parts)}"
        execute(url, (ROOT / "db/schema/create.sql").read_text(encoding="utf-8"))
        yield url
    finally:
        execute(cluster_url, f"DROP DATABASE {name} WITH (FORCE)")


def fill(url: str, week: Week) -> None:
    """Replace everything that is stored by this week."""
    execute(url, FILL_WEEK, week._asdict())
    execute(url, "VACUUM ANALYZE")


def execute(url: str, statement: str, parameters: Any = None) -> Sequence[Any]:
    """Run a statement on a connection of its own; give the rows."""
    with closing(psycopg2.connect(url)) as connection:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute(statement, parameters)
            return cursor.fetchall() if cursor.description else []


def postmaster(url: str) -> int | None:
    """PostgreSQL's first process, None where it is on another machine."""
    with closing(psycopg2.connect(url)) as connection:
        backend = connection.info.backend_pid
        try:
            if (procfs.PROC / str(backend) / "comm").read_text().startswith("postgres"):
                return procfs.parent(backend)
        except OSError:
            pass
    return None
