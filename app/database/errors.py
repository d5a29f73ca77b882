"""PostgreSQL's errors: which ones mean that the connection is lost or PostgreSQL unavailable.

Every error of the server has an SQLSTATE of five characters. The first two are its
class: https://www.postgresql.org/docs/current/errcodes-appendix.html
"""

from __future__ import annotations

import psycopg2

LOST = (
    "08",  # connection exception
    "26000",  # no such prepared statement: a pooler has switched to another backend
    "57P",  # the backend was terminated, has crashed or is not ready
)

# Errors that are temporary, or that the operator of the database has to fix.
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
    """PostgreSQL is unavailable. A later attempt may succeed."""


def is_lost(error: psycopg2.Error) -> bool:
    """Return whether the connection failed or broke, rather than the statement."""
    if error.pgcode is None:
        # Errors of libpq itself have no SQLSTATE.
        return isinstance(error, psycopg2.OperationalError | psycopg2.InterfaceError)
    return error.pgcode.startswith(LOST)


def is_login_refused(error: psycopg2.Error) -> bool:
    """Return whether PostgreSQL refused the password. Trying again at once is useless.

    psycopg2 reports no SQLSTATE for errors that occur while connecting.
    """
    return "authentication failed" in str(error)


def is_unavailable(error: psycopg2.Error) -> bool:
    """Return whether PostgreSQL is unavailable, or the connection lost."""
    return is_lost(error) or (error.pgcode or "").startswith(UNAVAILABLE)
