"""Creates, seeds and drops the tables: runs db/schema/*.sql.

`flask db prepare` is safe at every deploy, on a database in use, by two dynos at
once: it makes what is missing and seeds empty tables. `flask db reset` starts
over. Each file is a transaction of its own when `psql` runs it; here several
become one, so that a failure leaves everything as it was.

A reset of a database that is neither on this machine nor on a private network has
to be asked for explicitly. It is probably in production, and came here by a `.env`.
"""

from __future__ import annotations

import ipaddress
import sys
import time
from collections.abc import Iterable, Mapping
from contextlib import closing
from typing import Any

import click
import psycopg2
from flask import Flask, current_app
from flask.cli import AppGroup
from psycopg2.extensions import parse_dsn

from app import config
from app.database import pool
from app.database.statements import committing

SCHEMA = config.ROOT / "db" / "schema"
# Seconds that a script may take if a person waits for it: an index on a large table takes long.
SCRIPT_TIMEOUT = 60.0

# This machine (0.0.0.0 and :: connect to it), private networks (RFC 1918, RFC 4193) and
# links (RFC 3927, RFC 4291). Python's `is_private` has more, such as examples for documents.
NEAR_NETWORKS: list[ipaddress.IPv4Network | ipaddress.IPv6Network] = [
    *map(ipaddress.IPv4Network, ("0.0.0.0/32", "127.0.0.0/8", "10.0.0.0/8", "172.16.0.0/12")),
    *map(ipaddress.IPv4Network, ("192.168.0.0/16", "169.254.0.0/16")),
    *map(ipaddress.IPv6Network, ("::/128", "::1/128", "fc00::/7", "fe80::/10")),
]

cli = AppGroup("db", help="Create, seed and reset the tables.")


def init_app(app: Flask) -> None:
    """Add the commands `flask db prepare` and `flask db reset`."""
    app.cli.add_command(cli)


class RemoteDatabase(Exception):
    """The database is neither on this machine nor on a private network."""


def prepare(timeout: float = SCRIPT_TIMEOUT) -> None:
    """Create what is missing and seed empty tables, within `timeout` seconds.

    Raises `psycopg2.Error`.
    """
    with closing(_connect(timeout)) as connection:
        _run(connection, ["create", current_app.config["APP_ENV"]])


def reset(timeout: float = SCRIPT_TIMEOUT, *, even_if_remote: bool = False) -> None:
    """Drop everything, create it and seed it, within `timeout` seconds.

    Raises `RemoteDatabase`, and `psycopg2.Error`.
    """
    if not even_if_remote:
        _refuse_remote(current_app.config["DATABASE"])
    with closing(_connect(timeout)) as connection:
        if not even_if_remote:
            # libpq also reads PGHOSTADDR and service files: look at what it has used.
            _refuse_remote(connection.info.dsn_parameters)
        _run(connection, ["drop", "create", current_app.config["APP_ENV"]])


def is_near(database: Mapping[str, Any]) -> bool:
    """Whether a database is on this machine or on a private network.

    Takes arguments for `psycopg2.connect`. A Unix socket, a loopback or private
    address, and a host name without a dot are near. An address decides if there is
    one; of several hosts, each has to be near.
    """
    parts = {**parse_dsn(database.get("dsn", "")), **database}
    hosts = str(parts.get("hostaddr") or parts.get("host") or "")
    return all(map(_is_near_host, hosts.split(",")))


def _is_near_host(host: str) -> bool:
    if host.startswith(("/", "@")):  # a Unix socket, or one in Linux's abstract namespace
        return True
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return "." not in host
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped:
        address = address.ipv4_mapped
    return any(address in network for network in NEAR_NETWORKS)


def _refuse_remote(database: Mapping[str, Any]) -> None:
    if not is_near(database):
        raise RemoteDatabase(
            f"The database on {pool.address(database).host} is neither on this machine nor on a "
            "private network."
        )


def _connect(timeout: float) -> pool.Connection:
    connection = pool.connect(current_app.config["DATABASE"], timeout)
    connection.deadline = time.monotonic() + timeout
    return connection


def _run(connection: pool.Connection, names: Iterable[str]) -> None:
    """Run files of db/schema in one transaction."""
    script = "".join(_statements(name) for name in names)
    with connection.cursor() as cursor:
        cursor.execute(f"BEGIN; {script} SELECT pg_current_xact_id()::text")
        row: Any = cursor.fetchone()
        with committing(int(row[0])):
            cursor.execute("COMMIT")


def _statements(name: str) -> str:
    """A file's statements without the `BEGIN` and `COMMIT` around them."""
    text = (SCHEMA / f"{name}.sql").read_text(encoding="utf-8")
    _, _, rest = text.partition("\nBEGIN;\n")
    statements, _, _ = rest.rpartition("\nCOMMIT;\n")
    return statements


@cli.command("prepare")
def prepare_command() -> None:
    """Create what is missing and seed empty tables; keeps all data."""
    settings = current_app.config
    where = pool.address(settings["DATABASE"])
    try:
        prepare()
    except psycopg2.Error as error:
        unreachable = isinstance(error, psycopg2.OperationalError)
        if unreachable and not pool.is_attached(settings["DATABASE"]):
            click.echo("No database is attached yet (DATABASE_URL and PG* are unset).")
            return
        sys.exit(f"The database could not be prepared: {where.host}: {str(error).strip()}")
    click.echo(f"Prepared {where.database} on {where.host} for {settings['APP_ENV']}.")


@cli.command("reset")
@click.option("--yes", is_flag=True, help="Also in production and on another machine.")
def reset_command(*, yes: bool) -> None:
    """Drop, create and seed all tables: every booking is deleted."""
    environment = current_app.config["APP_ENV"]
    how = "This deletes every booking. To do it all the same: flask db reset --yes"
    if environment == "production" and not yes:
        sys.exit(f"APP_ENV is production. {how}")
    try:
        reset(even_if_remote=yes)
    except RemoteDatabase as error:
        sys.exit(f"{error} {how}")
    except psycopg2.Error as error:
        sys.exit(f"The database could not be reset: {str(error).strip()}")
    click.echo(f"Reset, with the seed for {environment}.")
