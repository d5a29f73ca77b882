"""The hosts of a database, from the arguments for `psycopg2.connect`."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from typing import Any, NamedTuple

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


def is_near(database: Mapping[str, Any]) -> bool:
    """Return whether a database is on this machine or on a private network.

    Unix sockets, loopback and private addresses, and host names without a dot are near.
    `hostaddr` overrides `host`. If there are several hosts, all of them must be near.
    """
    parts = _parts(database)
    hosts = str(parts.get("hostaddr") or parts.get("host") or "")
    return all(map(_is_near_host, hosts.split(",")))


def _is_near_host(host: str) -> bool:
    if host.startswith(("/", "@")):  # a Unix socket, or one in Linux's abstract namespace
        return True
    try:
        ip_address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return "." not in host
    if isinstance(ip_address, ipaddress.IPv6Address) and ip_address.ipv4_mapped:
        ip_address = ip_address.ipv4_mapped
    return any(ip_address in network for network in NEAR_NETWORKS)


def _parts(database: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments, with those of the URL as single ones."""
    return {**parse_dsn(database.get("dsn", "")), **database}
