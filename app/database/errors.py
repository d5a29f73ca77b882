"""Errors of PostgreSQL: which of them mean that it cannot be used at the moment.

Every error of the server has a code of five characters, its SQLSTATE. The first two
are its class: https://www.postgresql.org/docs/current/errcodes-appendix.html
"""

from __future__ import annotations

import psycopg2

# Connection exceptions; a prepared statement that does not exist, because a pooler uses
# another backend now; a backend that was terminated, has crashed or is not ready yet.
LOST = ("08", "26000", "57P")

# Errors that pass by themselves, or that the database's operator has to fix.
UNAVAILABLE = (
    "2200H",  # a sequence has no more numbers
    "25006",  # read-only: a standby, during a failover
    "28",  # login
    "3D",  # no such database
    "3F",  # no such schema
    "40",  # deadlock, serialization failure
    "42501",  # missing privilege
    "42703",  # a column that does not exist yet
    "42P01",  # a table that does not exist yet
    "53",  # out of memory, disk or connections
    "54000",  # program limit exceeded: the queue of notifications is full
    "55",  # locked, or not in the right state
    "57",  # shut down, or a statement that took too long
    "58",  # system error
    "XX",  # corrupted
)


class DatabaseUnavailable(Exception):
    """PostgreSQL cannot be used at the moment; trying again later may succeed."""


def is_lost(error: psycopg2.Error) -> bool:
    """Whether the connection failed or broke, rather than the statement."""
    if error.pgcode is None:
        # libpq itself reports these; only the server gives an SQLSTATE.
        return isinstance(error, psycopg2.OperationalError | psycopg2.InterfaceError)
    return error.pgcode.startswith(LOST)


def is_unavailable(error: psycopg2.Error) -> bool:
    """Whether the error means that PostgreSQL cannot be used at the moment."""
    return is_lost(error) or (error.pgcode or "").startswith(UNAVAILABLE)
