"""The hosts of a database, from the arguments for `psycopg2.connect`."""

from __future__ import annotations

import ipaddress
import socket
import threading
import time
from collections.abc import Mapping
from typing import Any, NamedTuple

import psycopg2
from psycopg2.extensions import parse_dsn

# This machine (0.0.0.0 and :: connect to it), private networks (RFC 1918, RFC 4193) and
# links (RFC 3927, RFC 4291). Python's `is_private` includes others, such as example networks.
NEAR_NETWORKS = [
    *map(ipaddress.ip_network, ("0.0.0.0/32", "127.0.0.0/8", "10.0.0.0/8", "172.16.0.0/12")),
    *map(ipaddress.ip_network, ("192.168.0.0/16", "169.254.0.0/16")),
    *map(ipaddress.ip_network, ("::/128", "::1/128", "fc00::/7", "fe80::/10")),
]


class Address(NamedTuple):
    """The host and name of a database, for log lines and messages."""

    host: str
    database: str


def address(database: Mapping[str, Any]) -> Address:
    """Return the address of a database."""
    parts = _parts(database)
    host = f"{parts.get('host', 'libpq default')}:{parts.get('port', 5432)}"
    return Address(host, str(parts.get("dbname", parts.get("user", ""))))


def is_attached(database: Mapping[str, Any]) -> bool:
    """Return whether any setting specifies a database."""
    return any(value for name, value in database.items() if name != "sslmode")


def split(database: Mapping[str, Any]) -> list[dict[str, str]]:
    """Return the arguments `host`, `hostaddr` and `port` of each host in a list of hosts.

    https://www.postgresql.org/docs/current/libpq-connect.html#LIBPQ-MULTIPLE-HOSTS
    """
    parts = _parts(database)
    lists = {
        name: str(parts[name]).split(",") for name in ("host", "hostaddr", "port") if name in parts
    }
    count = max(map(len, lists.values()), default=1)
    # A single port is the port of all hosts.
    return [
        {name: values[number if len(values) == count else 0] for name, values in lists.items()}
        for number in range(count)
    ]


def resolve(host: Mapping[str, str], deadline: float) -> Mapping[str, str]:
    """Return the arguments of one host, with the addresses of its name.

    libpq would look up the name without a deadline, and meanwhile no greenlet could run.
    Raises `psycopg2.OperationalError` after `deadline` (`time.monotonic()`).
    """
    name = host.get("host", "")
    if not name or _is_unix_socket(name) or host.get("hostaddr"):
        return host
    found: list[str] = []
    problem = "no reply in time"

    def look_up() -> None:
        nonlocal problem
        try:
            found.extend(
                str(each[4][0]) for each in socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)
            )
        except (OSError, UnicodeError) as error:
            problem = str(error)

    thread = threading.Thread(target=look_up, daemon=True)
    thread.start()
    thread.join(max(0.0, deadline - time.monotonic()))
    if not (addresses := list(found)):
        raise psycopg2.OperationalError(f'could not look up the host name "{name}": {problem}')
    return {**host, "host": ",".join([name] * len(addresses)), "hostaddr": ",".join(addresses)}


def is_near(database: Mapping[str, Any]) -> bool:
    """Return whether a database is on this machine or on a private network.

    Unix sockets, loopback and private addresses, and host names without a dot are near.
    `hostaddr` overrides `host`. If there are several hosts, all of them must be near.
    """
    parts = _parts(database)
    hosts = str(parts.get("hostaddr") or parts.get("host") or "")
    return all(map(_is_near_host, hosts.split(",")))


def _is_near_host(host: str) -> bool:
    if _is_unix_socket(host):
        return True
    try:
        ip_address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return "." not in host
    if isinstance(ip_address, ipaddress.IPv6Address) and ip_address.ipv4_mapped:
        ip_address = ip_address.ipv4_mapped
    return any(ip_address in network for network in NEAR_NETWORKS)


def _is_unix_socket(host: str) -> bool:
    """`@` is for Linux's abstract namespace."""
    return host.startswith(("/", "@"))


def _parts(database: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments, with those of the URL as single ones."""
    return {**parse_dsn(database.get("dsn", "")), **database}
