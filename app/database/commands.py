"""The commands `flask db prepare` and `flask db reset`.

Resetting a production database, or one that is neither on this machine nor on a private
network, needs `--yes`.
"""

from __future__ import annotations

import sys

import click
import psycopg2
from flask import Flask, current_app
from flask.cli import AppGroup

from app.database import hosts, schema

cli = AppGroup("db", help="Create, seed and reset the tables.")


def init_app(app: Flask) -> None:
    """Add the commands to `flask`."""
    app.cli.add_command(cli)


@cli.command("prepare")
def prepare() -> None:
    """Create what is missing. Seed the tables if all are empty. Keeps all data."""
    settings = current_app.config
    where = hosts.location(settings["DATABASE"])
    try:
        schema.prepare()
    except psycopg2.Error as error:
        unreachable = isinstance(error, psycopg2.OperationalError)
        if unreachable and not hosts.is_configured(settings["DATABASE"]):
            click.echo("No database is configured yet (DATABASE_URL and PG* are unset).")
            return
        sys.exit(f"The database could not be prepared: {where.server}: {str(error).strip()}")
    click.echo(f"Prepared {where.database} on {where.server} for {settings['APP_ENV']}.")


@cli.command("reset")
@click.option("--yes", is_flag=True, help="Allow it in production and for a remote database.")
def reset(*, yes: bool) -> None:
    """Drop, create and seed all tables. Deletes all data."""
    environment = current_app.config["APP_ENV"]
    how = "This deletes all data. To do it anyway: flask db reset --yes"
    if environment == "production" and not yes:
        sys.exit(f"APP_ENV is production. {how}")
    try:
        schema.reset(even_if_remote=yes)
    except schema.RemoteDatabase as error:
        sys.exit(f"{error} {how}")
    except psycopg2.Error as error:
        sys.exit(f"The database could not be reset: {str(error).strip()}")
    click.echo(f"Reset, with the seed for {environment}.")
