"""Notifications: what the triggers of create.sql report, as changes in commit order."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import psycopg2

from app.database.connection import REPLY_TIMEOUT, DatabaseConnection

CHANNEL = "scheduler_changes"
# Identifies the listener's connection in pg_stat_activity.
APPLICATION_NAME = "scheduler-api listener"
# With this many notifications, the listener stops receiving and passes them on.
MAX_PAYLOADS = 1000
# Notifications to parse before other threads may run.
BATCH_SIZE = 100


class Change(NamedTuple):
    """A committed change of an interview, or of other data if `appointment_id` is None.

    `interview` is the new state, None if the interview was deleted. `xmin` is the id of
    the (sub)transaction that wrote the row. `transaction_id` is None if no
    notification reported the change. `must_compare` says that interviews were deleted
    without a notification for each.
    """

    transaction_id: int | None = None
    appointment_id: int | None = None
    interview: Mapping[str, Any] | None = None
    xmin: int = 0
    must_compare: bool = False


def listen(connection: DatabaseConnection) -> None:
    """Make PostgreSQL send the notifications to this connection from now on."""
    _execute(connection, f"SET application_name = '{APPLICATION_NAME}'; LISTEN {CHANNEL}")


def free_queue(connection: DatabaseConnection) -> None:
    """Let PostgreSQL reuse the space of notifications that all its clients have received.

    It usually does so by itself. But if the queue is full because a listening client has stopped
    receiving, every write fails, even after that client is gone, until another client asks.
    """
    _execute(connection, "SELECT pg_notification_queue_usage()")


def receive(connection: DatabaseConnection, timeout: float) -> list[Change]:
    """Wait at most `timeout` seconds for notifications. Returns their changes."""
    return _parse_all(_receive_payloads(connection, timeout))


def receive_all(connection: DatabaseConnection) -> list[Change]:
    """Return the changes of all transactions committed before this call, and maybe later ones.

    PostgreSQL delivers notifications in commit order. So this sends one, and receives
    until it arrives. Raises `psycopg2.OperationalError` if it does not arrive: behind a
    pooler in transaction mode, LISTEN has no effect.
    """
    end = json.dumps({"end": str(uuid.uuid4())})
    _execute(connection, f"SELECT pg_notify('{CHANNEL}', %s)", [end])
    changes: list[Change] = []
    remaining = REPLY_TIMEOUT
    while end not in (payloads := _receive_payloads(connection, remaining)):
        changes += _parse_all(payloads)
        remaining = connection.deadline - time.monotonic()
        if remaining <= 0:
            raise psycopg2.OperationalError(
                "notifications do not arrive; connect to PostgreSQL itself, not to a pooler"
            )
    return changes + _parse_all(payloads)


def _receive_payloads(connection: DatabaseConnection, timeout: float) -> list[str]:
    payloads = _poll(connection)
    if not payloads and connection.wait_until_ready(connection.fileno(), True, timeout):
        payloads = _poll(connection)
    return payloads


def _poll(connection: DatabaseConnection) -> list[str]:
    """Return what has arrived. Each call of `poll` reads only a part of it."""
    payloads: list[str] = []
    while len(payloads) < MAX_PAYLOADS:
        connection.poll()
        notifications, connection.notifies = connection.notifies, []
        if not notifications:
            break
        payloads += [notification.payload for notification in notifications]
    return payloads


def _parse_all(payloads: Iterable[str]) -> list[Change]:
    changes = []
    for number, payload in enumerate(payloads, 1):
        if change := _parse(payload):
            changes.append(change)
        if number % BATCH_SIZE == 0:
            time.sleep(0)
    return changes


def _parse(payload: str) -> Change | None:
    """Return the change that a trigger reports, None for any other notification."""
    try:
        fields = json.loads(payload)
    except (ValueError, RecursionError):
        return None
    match fields:
        case {"transaction": int(transaction_id), "id": int(appointment_id)}:
            # Triggers of version 1.0 send no xmin.
            xmin = fields.get("xmin") or transaction_id % 2**32
            change = Change(transaction_id, appointment_id, fields.get("interview"), xmin)
        case {"transaction": int(transaction_id)} if "id" not in fields:
            change = Change(transaction_id, must_compare=fields.get("compare") is True)
        case _:
            return None
    return change if 0 < transaction_id < 2**63 else None


def _execute(connection: DatabaseConnection, statement: str, parameters: Any = None) -> None:
    connection.deadline = time.monotonic() + REPLY_TIMEOUT
    with connection.cursor() as cursor:
        cursor.execute(statement, parameters)
