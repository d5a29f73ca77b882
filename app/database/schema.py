"""Creates, seeds and drops the tables: runs db/schema/*.sql.

`flask db prepare` is safe at every deploy, on a database in use, by two dynos at
once: it makes what is missing and seeds empty tables. `flask db reset` starts
over. Each file is a transaction of its own when `psql` runs it; here several
become one, so that a failure leaves everything as it was.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable
from contextlib import closing

import click
import psycopg2
from flask import Flask, current_app
from flask.cli import AppGroup

from app import config
from app.database import pool

SCHEMA = config.ROOT / "db" / "schema"
# Seconds a script may take when a person waits for it: making an index on a large table does.
PATIENCE = 60.0

cli = AppGroup("db", help="Create, seed and reset the tables.")


def init_app(app: Flask) -> None:
    """Add the commands `flask db prepare` and `flask db reset`."""
    app.cli.add_command(cli)


def prepare(timeout: float = PATIENCE) -> None:
    """Make what is missing, seed empty tables, in `timeout` seconds. Raises `psycopg2.Error`."""
    _run(["create", current_app.config["APP_ENV"]], timeout)


def reset(timeout: float = PATIENCE) -> None:
    """Drop everything, create it, seed it, in `timeout` seconds. Raises `psycopg2.Error`."""
    _run(["drop", "create", current_app.config["APP_ENV"]], timeout)


def _run(names: Iterable[str], timeout: float) -> None:
    """Run files of db/schema in one transaction."""
    script = "".join(_statements(name) for name in names)
    with closing(pool.connect(current_app.config["DATABASE"], timeout)) as connection:
        connection.deadline = time.monotonic() + timeout
        with connection.cursor() as cursor:
            cursor.execute(f"BEGIN; {script} COMMIT;")


def _statements(name: str) -> str:
    """A file's statements without the `BEGIN` and `COMMIT` around them."""
    text = (SCHEMA / f"{name}.sql").read_text(encoding="utf-8")
    _, _, rest = text.partition("\nBEGIN;\n")
    statements, _, _ = rest.rpartition("\nCOMMIT;\n")
    return statements


@cli.command("prepare")
def prepare_command() -> None:
    """Make what is missing and seed empty tables; keeps all data."""
    settings = current_app.config
    try:
        prepare()
    except psycopg2.OperationalError as error:
        if pool.is_attached(settings["DATABASE"]):
            sys.exit(f"The database could not be prepared: {str(error).strip()}")
        click.echo(
            "No database is attached yet (DATABASE_URL and PG* are unset): nothing to prepare."
        )
        return
    except psycopg2.Error as error:
        sys.exit(f"The database could not be prepared: {str(error).strip()}")
    where = pool.address(settings["DATABASE"])
    click.echo(f"Prepared {where.database} on {where.host} for {settings['APP_ENV']}.")


@cli.command("reset")
@click.option("--yes", is_flag=True, help="In production: yes, delete all bookings.")
def reset_command(*, yes: bool) -> None:
    """Drop, create and seed all tables: every booking is deleted."""
    environment = current_app.config["APP_ENV"]
    if environment == "production" and not yes:
        sys.exit("This deletes every booking. To do it in production: flask db reset --yes")
    try:
        reset()
    except psycopg2.Error as error:
        sys.exit(f"The database could not be reset: {str(error).strip()}")
    click.echo(f"Reset, with the seed for {environment}.")
