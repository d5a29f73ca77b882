"""PostgreSQL's errors: which are worth another attempt, and which mean that it is unavailable.

Every error of the server has an SQLSTATE of five characters. The first two are its
class: https://www.postgresql.org/docs/current/errcodes-appendix.html
"""

from __future__ import annotations

import psycopg2

# Errors of the connection or of timing, rather than of the statement.
TRANSIENT = (
    "08",  # connection exception
    "25P03",  # the transaction was idle for too long
    "26000",  # no such prepared statement: a pooler has switched to another backend
    "40",  # deadlock, serialization failure
    "57P",  # the backend was terminated, has crashed or is not ready
)

# Errors that last longer, or that the operator of the database has to fix.
UNAVAILABLE = (
    "2200H",  # a sequence has no more numbers
    "25006",  # read-only: a standby, during a failover
    "28",  # login
    "3D",  # no such database
    "3F",  # no such schema
    "42501",  # missing privilege
    "42703",  # a column that does not exist yet
    "42P01",  # a table that does not exist yet
    "53",  # out of memory, disk or connections
    "54000",  # program limit exceeded: the queue of notifications is full
    "55",  # locked, or not in the right state
    "57",  # shut down, or a statement that took too long
    "58",  # system error
    "XX",  # internal error, corrupted data
)


class DatabaseUnavailable(Exception):
    """No connection became free in time, or nobody knows the outcome of a commit.

    A later attempt may succeed.
    """


def is_transient(error: psycopg2.Error) -> bool:
    """Return whether the same work may succeed on another connection."""
    if error.pgcode is None:
        # Errors of libpq itself have no SQLSTATE.
        return isinstance(error, psycopg2.OperationalError | psycopg2.InterfaceError)
    return error.pgcode.startswith(TRANSIENT)


def is_login_refused(error: psycopg2.Error) -> bool:
    """Return whether PostgreSQL refused the password. Trying again immediately is useless.

    psycopg2 reports no SQLSTATE for errors that occur while connecting.
    """
    return "authentication failed" in str(error)


def is_unavailable(error: psycopg2.Error) -> bool:
    """Return whether PostgreSQL is unavailable."""
    return is_transient(error) or (error.pgcode or "").startswith(UNAVAILABLE)
