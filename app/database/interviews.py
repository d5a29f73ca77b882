"""All interviews, to find changes without a notification."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from typing import Any

import psycopg2.extensions

from app.database.connection import REPLY_TIMEOUT, DatabaseConnection
from app.database.notifications import Change

# Rows to fetch before other threads may run.
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


def fetch(connection: DatabaseConnection) -> Interviews:
    """Return the stored interviews."""
    interviews: Interviews = {}
    with _cursor(connection) as cursor:
        cursor.execute(SELECT_INTERVIEWS)
        while rows := cursor.fetchmany(FETCH_SIZE):
            for appointment_id, student, interviewer, xmin in rows:
                interview = {"student": student, "interviewer": interviewer}
                interviews[appointment_id] = interview, xmin
            time.sleep(0)
    return interviews


def are_stored(interviews: Interviews, connection: DatabaseConnection) -> bool:
    """Return whether these interviews are what is stored. Compares fingerprints."""
    with _cursor(connection) as cursor:
        cursor.execute(SELECT_FINGERPRINT)
        fingerprint = len(interviews), sum(xmin for _, xmin in interviews.values())
        return cursor.fetchone() == fingerprint


def apply(changes: Iterable[Change], interviews: Interviews) -> None:
    """Apply changes to `interviews`, in place."""
    for change in changes:
        if change.appointment_id is None:
            continue
        if change.interview is None:
            interviews.pop(change.appointment_id, None)
        else:
            interviews[change.appointment_id] = change.interview, change.xmin


def compare(before: Interviews, after: Interviews) -> list[Change]:
    """Return the changes that lead from one state to the other.

    A row that was written without a change counts too: its xmin differs.
    """
    return [
        Change(None, appointment_id, *after.get(appointment_id, (None, 0)))
        for appointment_id in sorted(before.keys() | after.keys())
        if before.get(appointment_id) != after.get(appointment_id)
    ]


def _cursor(connection: DatabaseConnection) -> psycopg2.extensions.cursor:
    """Return a cursor of plain tuples, the fastest for many rows, and renew the deadline."""
    connection.deadline = time.monotonic() + REPLY_TIMEOUT
    return connection.cursor(cursor_factory=psycopg2.extensions.cursor)
