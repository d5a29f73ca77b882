"""The PostgreSQL of the benchmark, and the weeks of appointments in it."""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from typing import Any, NamedTuple
from urllib.parse import urlencode

import psutil
import psycopg2
from psycopg2.extensions import parse_dsn

from app.config import ROOT


class Week(NamedTuple):
    """How much is stored. Every second appointment is booked."""

    days: int
    appointments_a_day: int
    interviewers: int

    @property
    def appointments(self) -> int:
        """The number of appointments; their ids count from one."""
        return self.days * self.appointments_a_day


# As large as db/schema/production.sql, but the same each time.
SMALL = Week(days=5, appointments_a_day=5, interviewers=10)

FILL = """
    BEGIN;
    TRUNCATE days, appointments, interviewers, interviews, available_interviewers RESTART IDENTITY;

    INSERT INTO days (name) SELECT 'Weekday' FROM generate_series(1, %(days)s);

    INSERT INTO appointments (time, day_id)
    SELECT 1 + (number + 10) %% 12 || 'pm', day
    FROM generate_series(1, %(days)s) AS day, generate_series(1, %(appointments_a_day)s) AS number
    ORDER BY day, number;

    INSERT INTO interviewers (name, avatar)
    SELECT 'Interviewer ' || number, format('/images/interviewers/%%s_d.webp', number)
    FROM generate_series(1, %(interviewers)s) AS number;

    INSERT INTO available_interviewers (day_id, interviewer_id)
    SELECT day, 1 + (day * 7 + number) %% %(interviewers)s
    FROM generate_series(1, %(days)s) AS day, generate_series(1, 5) AS number;

    INSERT INTO interviews (student, interviewer_id, appointment_id)
    SELECT 'Student ' || id, 1 + id %% %(interviewers)s, id FROM appointments WHERE id %% 2 = 0;
    COMMIT;
"""


class Options(NamedTuple):
    """How long to measure, and where."""

    rounds: int
    seconds: int
    cluster_url: str
    node_url: str | None
    node_database: str | None

    @contextmanager
    def database(self, week: Week = SMALL) -> Iterator[str]:
        """Create a database with the project's tables and a week in them; drop it at the end."""
        name = f"scheduler_bench_{uuid.uuid4().hex[:12]}"
        execute(self.cluster_url, f"CREATE DATABASE {name}")
        try:
            parts = {**parse_dsn(self.cluster_url), "dbname": name}
            url = f"postgresql:///{parts.pop('dbname')}?{urlencode(parts)}"
            execute(url, (ROOT / "db/schema/create.sql").read_text(encoding="utf-8"))
            fill(url, week)
            yield url
        finally:
            execute(self.cluster_url, f"DROP DATABASE {name} WITH (FORCE)")


def fill(url: str, week: Week) -> None:
    """Replace all data with this week's."""
    execute(url, FILL, week._asdict())
    execute(url, "VACUUM ANALYZE")


def execute(url: str, statement: str, parameters: Any = None) -> Sequence[Any]:
    """Run a statement on a new connection, and return the rows."""
    with closing(psycopg2.connect(url)) as connection:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute(statement, parameters)
            return cursor.fetchall() if cursor.description else []


def postgres_pid(url: str) -> int | None:
    """PostgreSQL's first process; None if PostgreSQL runs on another machine."""
    with closing(psycopg2.connect(url)) as connection:
        backend = connection.info.backend_pid
        if not psutil.pid_exists(backend) or "postgres" not in psutil.Process(backend).name():
            return None
        return psutil.Process(backend).ppid()
