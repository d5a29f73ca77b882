"""Creates, seeds and drops the tables, with the files in db/schema.

`flask db prepare` creates what is missing and seeds empty tables. It is safe at every
deploy, on a database in use and in several processes at once. `flask db reset` drops
everything first. Several files run in one transaction, so a failure changes nothing.

Resetting a database that is neither on this machine nor on a private network needs
`--yes`: it is probably a production database that a `.env` file names.
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
# Seconds. An index on a large table takes long.
SCRIPT_TIMEOUT = 60.0

# This machine (0.0.0.0 and :: connect to it), private networks (RFC 1918, RFC 4193) and
# links (RFC 3927, RFC 4291). Python's `is_private` includes others, such as example networks.
NEAR_NETWORKS = [
    *map(ipaddress.ip_network, ("0.0.0.0/32", "127.0.0.0/8", "10.0.0.0/8", "172.16.0.0/12")),
    *map(ipaddress.ip_network, ("192.168.0.0/16", "169.254.0.0/16")),
    *map(ipaddress.ip_network, ("::/128", "::1/128", "fc00::/7", "fe80::/10")),
]

cli = AppGroup("db", help="Create, seed and reset the tables.")


def init_app(app: Flask) -> None:
    """Add the commands `flask db prepare` and `flask db reset`."""
    app.cli.add_command(cli)


class RemoteDatabase(Exception):
    """The database is neither on this machine nor on a private network."""


def prepare(timeout: float = SCRIPT_TIMEOUT) -> None:
    """Create what is missing and seed empty tables. Raises `psycopg2.Error`.

    `timeout` is in seconds.
    """
    with closing(_connect(timeout)) as connection:
        _run(connection, ["create", current_app.config["APP_ENV"]])


def reset(timeout: float = SCRIPT_TIMEOUT, *, even_if_remote: bool = False) -> None:
    """Drop, create and seed all tables. Raises `RemoteDatabase` or `psycopg2.Error`.

    `timeout` is in seconds.
    """
    if not even_if_remote:
        _refuse_remote(current_app.config["DATABASE"])
    with closing(_connect(timeout)) as connection:
        if not even_if_remote:
            # libpq also reads PGHOSTADDR and service files. This is the host that it used.
            _refuse_remote(connection.info.dsn_parameters)
        _run(connection, ["drop", "create", current_app.config["APP_ENV"]])


def is_near(database: Mapping[str, Any]) -> bool:
    """Return whether a database is on this machine or on a private network.

    `database` holds the arguments for `psycopg2.connect`. Unix sockets, loopback and
    private addresses, and host names without a dot are near. `hostaddr` overrides `host`.
    If there are several hosts, all of them must be near.
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
    """Run files in one transaction."""
    script = "".join(_statements(name) for name in names)
    with connection.cursor() as cursor:
        cursor.execute(f"BEGIN; {script} SELECT pg_current_xact_id()::text")
        row: Any = cursor.fetchone()
        with committing(int(row[0])):
            cursor.execute("COMMIT")


def _statements(name: str) -> str:
    """Return the statements of a file without its `BEGIN` and `COMMIT`."""
    text = (SCHEMA / f"{name}.sql").read_text(encoding="utf-8")
    _, _, rest = text.partition("\nBEGIN;\n")
    statements, _, _ = rest.rpartition("\nCOMMIT;\n")
    return statements


@cli.command("prepare")
def prepare_command() -> None:
    """Create what is missing and seed empty tables. Keeps all data."""
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
@click.option("--yes", is_flag=True, help="Allow it in production and for a remote database.")
def reset_command(*, yes: bool) -> None:
    """Drop, create and seed all tables. Deletes every booking."""
    environment = current_app.config["APP_ENV"]
    how = "This deletes every booking. To do it anyway: flask db reset --yes"
    if environment == "production" and not yes:
        sys.exit(f"APP_ENV is production. {how}")
    try:
        reset(even_if_remote=yes)
    except RemoteDatabase as error:
        sys.exit(f"{error} {how}")
    except psycopg2.Error as error:
        sys.exit(f"The database could not be reset: {str(error).strip()}")
    click.echo(f"Reset, with the seed for {environment}.")
