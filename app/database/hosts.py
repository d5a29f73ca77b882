"""The hosts of a database, from the arguments for `psycopg2.connect`."""

from __future__ import annotations

import ipaddress
import socket
import threading
import time
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import psycopg2
from psycopg2.extensions import parse_dsn

# This machine (including 0.0.0.0 and ::), private networks (RFC 1918, RFC 4193) and link-local
# addresses (RFC 3927, RFC 4291). Python's `is_private` includes others, such as networks for
# examples.
LOCAL_NETWORKS = [
    *map(ipaddress.ip_network, ["0.0.0.0/32", "127.0.0.0/8", "::/128", "::1/128"]),
    *map(ipaddress.ip_network, ["10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7"]),
    *map(ipaddress.ip_network, ["169.254.0.0/16", "fe80::/10"]),
]


class Location(NamedTuple):
    """The host, with its port, and the name of a database, for log lines and messages."""

    server: str
    database: str


def location(database: Mapping[str, Any]) -> Location:
    """Return the location of a database."""
    parts = _parts(database)
    server = f"{parts.get('host') or 'libpq default'}:{parts.get('port') or 5432}"
    return Location(server, str(parts.get("dbname", parts.get("user", ""))))


def is_configured(database: Mapping[str, Any]) -> bool:
    """Return whether any setting specifies a database."""
    return any(value for name, value in database.items() if name != "sslmode")


def split(database: Mapping[str, Any]) -> list[dict[str, str]]:
    """Return the arguments `host`, `hostaddr` and `port` of each host in a list of hosts.

    Raises `psycopg2.OperationalError` if the lists differ in length, like libpq.
    https://www.postgresql.org/docs/current/libpq-connect.html#LIBPQ-MULTIPLE-HOSTS
    """
    parts = _parts(database)
    lists = {
        name: str(parts[name]).split(",") for name in ("host", "hostaddr", "port") if name in parts
    }
    count = max(map(len, lists.values()), default=1)
    if len(lists.get("port", "")) == 1:
        # A single port is the port of all hosts.
        lists["port"] *= count
    if any(len(values) != count for values in lists.values()):
        raise psycopg2.OperationalError("the lists of hosts and ports differ in length")
    return [{name: values[number] for name, values in lists.items()} for number in range(count)]


def resolve(host: Mapping[str, str], deadline: float) -> Sequence[Mapping[str, str]]:
    """Return the arguments of one host, once for each address of its name.

    libpq would look up the name without a deadline, and meanwhile no greenlet could run.
    Raises `psycopg2.OperationalError` after `deadline` (`time.monotonic()`).
    """
    name = host.get("host", "")
    if not name or _is_unix_socket(name) or host.get("hostaddr"):
        return [host]
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
    return [{**host, "hostaddr": address} for address in dict.fromkeys(addresses)]


def is_remote(database: Mapping[str, Any]) -> bool:
    """Return whether a database is neither on this machine nor on a private network.

    Unix sockets, loopback and private addresses, and host names without a dot are not remote.
    `hostaddr` overrides `host`. If there are several hosts, one remote host is enough.
    """
    parts = _parts(database)
    hosts = str(parts.get("hostaddr") or parts.get("host") or "")
    return any(map(_is_remote_host, hosts.split(",")))


def _is_remote_host(host: str) -> bool:
    if _is_unix_socket(host):
        return False
    try:
        ip_address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return "." in host
    if isinstance(ip_address, ipaddress.IPv6Address) and ip_address.ipv4_mapped:
        ip_address = ip_address.ipv4_mapped
    return all(ip_address not in network for network in LOCAL_NETWORKS)


def _is_unix_socket(host: str) -> bool:
    """Return whether a host is a Unix socket: a path, or an abstract name with an `@` (Linux)."""
    return host.startswith(("/", "@"))


def _parts(database: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments, with the URL split into its parts."""
    return {**parse_dsn(database.get("dsn", "")), **database}
