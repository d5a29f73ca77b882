"""All interviews, to find changes without a notification."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import psycopg2.extensions

from app.database import pool
from app.database.notifications import Change

# Rows fetched before other threads get a turn.
FETCH_SIZE = 1_000

SELECT_INTERVIEWS = """
    SELECT appointment_id, student, interviewer_id, xmin::text::bigint
    FROM interviews
    WHERE appointment_id IS NOT NULL
"""

# Every write of a row changes its xmin, the id of the transaction that wrote it.
SELECT_FINGERPRINT = """
    SELECT count(*), coalesce(sum(xmin::text::bigint), 0)
    FROM interviews
    WHERE appointment_id IS NOT NULL
"""

# By the id of the appointment: the interview, and its row's xmin.
Interviews = dict[int, tuple[Mapping[str, Any], int]]


class Snapshot(NamedTuple):
    """The transactions that a statement saw (PostgreSQL's type pg_snapshot)."""

    xmax: int
    in_progress: frozenset[int]

    @classmethod
    def parse(cls, text: str) -> Snapshot:
        """Parse PostgreSQL's text form, `xmin:xmax:xip,xip`."""
        _, xmax, in_progress = text.split(":")
        return cls(int(xmax), frozenset(map(int, filter(None, in_progress.split(",")))))

    def split(self, changes: list[Change]) -> tuple[list[Change], list[Change]]:
        """Split changes in commit order into those that were visible, and later ones."""
        for number, change in enumerate(changes):
            id_ = change.transaction_id or 0
            if id_ >= self.xmax or id_ in self.in_progress:
                return changes[:number], changes[number:]
        return changes, []


def fetch(connection: pool.Connection) -> tuple[Snapshot, Interviews]:
    """Return the stored interviews, and the snapshot that they are from."""
    interviews: Interviews = {}
    with _cursor(connection) as cursor:
        # Both statements use the same snapshot.
        cursor.execute("BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        cursor.execute("SELECT pg_current_snapshot()::text")
        row: Any = cursor.fetchone()
        cursor.execute(SELECT_INTERVIEWS)
        while rows := cursor.fetchmany(FETCH_SIZE):
            for appointment_id, student, interviewer, xmin in rows:
                interview = {"student": student, "interviewer": interviewer}
                interviews[appointment_id] = interview, xmin
            time.sleep(0)
        cursor.execute("COMMIT")
    return Snapshot.parse(row[0]), interviews


def are_stored(interviews: Interviews, connection: pool.Connection) -> bool:
    """Return whether these interviews are what is stored. Compares fingerprints."""
    with _cursor(connection) as cursor:
        cursor.execute(SELECT_FINGERPRINT)
        fingerprint = len(interviews), sum(xmin for _, xmin in interviews.values())
        return cursor.fetchone() == fingerprint


def remember(changes: Iterable[Change], interviews: Interviews) -> None:
    """Apply changes to the interviews."""
    for change in changes:
        if change.appointment_id is None:
            continue
        if change.interview is None:
            interviews.pop(change.appointment_id, None)
        else:
            interviews[change.appointment_id] = change.interview, change.xmin


def difference(before: Interviews, after: Interviews) -> list[Change]:
    """Return the changes that lead from one state to the other.

    A row that was written without a change counts too: its xmin differs.
    """
    return [
        Change(None, appointment_id, *after.get(appointment_id, (None, 0)))
        for appointment_id in sorted(before.keys() | after.keys())
        if before.get(appointment_id) != after.get(appointment_id)
    ]


def _cursor(connection: pool.Connection) -> psycopg2.extensions.cursor:
    """Return a cursor that returns plain tuples, the fastest for many rows."""
    connection.deadline = time.monotonic() + pool.REPLY_TIMEOUT
    return connection.cursor(cursor_factory=psycopg2.extensions.cursor)
