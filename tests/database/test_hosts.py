"""A `DATABASE_URL` that names several hosts, one after the other."""

from __future__ import annotations

import socket
import time
from pathlib import Path
from typing import Any

import psycopg2
import pytest
from psycopg2.extensions import parse_dsn

from app.database import hosts
from app.database.connection import CONNECT_TIMEOUT, connect
from tests.support.database import as_url
from tests.support.pace import is_within, within

A_1 = {"host": "a", "port": "1"}


@pytest.mark.parametrize(
    ("database", "expected"),
    [
        ({}, [{}]),
        ({"dsn": "postgresql://a/x"}, [{"host": "a"}]),
        ({"dsn": "postgresql://a:1,b:2/x"}, [A_1, {"host": "b", "port": "2"}]),
        ({"dsn": "postgresql://a,b/x?port=1"}, [A_1, {"host": "b", "port": "1"}]),
        ({"host": "a,b", "port": 1}, [A_1, {"host": "b", "port": "1"}]),
        (
            {"dsn": "postgresql:///x?hostaddr=::1,127.0.0.1"},
            [{"hostaddr": "::1"}, {"hostaddr": "127.0.0.1"}],
        ),
        ({"dsn": "postgresql://a/x", "sslmode": "require"}, [{"host": "a"}]),
    ],
)
def test_each_host_has_its_arguments(database: Any, expected: Any) -> None:
    assert hosts.split(database) == expected


@pytest.mark.parametrize(
    "url", ["postgresql://a:1,b:2/x?port=1,2,3", "postgresql://a,b/x?port=1,2,3"]
)
def test_lists_of_different_lengths_are_refused(url: str) -> None:
    with pytest.raises(psycopg2.OperationalError, match="differ in length"):
        connect({"dsn": url})


@pytest.fixture
def silent_host(short_path: Path) -> Any:
    """A host that accepts connections and never replies."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(short_path / ".s.PGSQL.5432"))
        listener.listen(10)
        yield str(short_path)


def url_of(database_url: str, *names: str, **parts: str) -> str:
    return as_url({**parse_dsn(database_url), "host": ",".join(names), **parts})


def test_a_host_that_does_not_reply_leaves_time_for_the_next(
    database_url: str, silent_host: str
) -> None:
    host = parse_dsn(database_url)["host"]
    for each in ([silent_host, host], ["/nowhere", silent_host, host], [host, silent_host]):
        started = time.monotonic()
        connect({"dsn": url_of(database_url, *each)}).close()
        assert is_within(time.monotonic() - started, CONNECT_TIMEOUT)


def test_when_no_host_replies_each_is_named(database_url: str, silent_host: str) -> None:
    url = url_of(database_url, "/nowhere", silent_host, port="5432")
    with within(1), pytest.raises(psycopg2.OperationalError) as raised:
        connect({"dsn": url}, timeout=0.5)
    assert "/nowhere" in str(raised.value)
    assert "PostgreSQL does not reply" in str(raised.value)
