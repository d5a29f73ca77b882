"""A database on another machine is never reset by accident: it may be in production."""

from __future__ import annotations

import pytest
from flask import Flask
from werkzeug.test import TestResponse

from app import create_app
from app.database.hosts import is_remote
from tests.support.database import Sql
from tests.support.project import Run

REMOTE = [
    "203.0.113.7",
    "8.8.8.8",
    "100.64.0.1",
    "2001:db8::1",
    "::ffff:8.8.8.8",
    "db.example",
    "ec2-1-2-3-4.compute.amazonaws.com",
    "localhost.evil.example",
    "127.0.0.1.evil.example",
    "localhost,db.example",
]
LOCAL = [
    "",
    "/var/run/postgresql",
    "/a b/with.dots",
    "localhost",
    "db",
    "127.0.0.1",
    "127.1.2.3",
    "::1",
    "::ffff:127.0.0.1",
    "10.0.0.5",
    "172.16.0.1",
    "192.168.1.1",
    "169.254.1.1",
    "fd12::1",
    "fe80::1%eth0",
    "localhost,127.0.0.1",
]


@pytest.mark.parametrize("host", REMOTE)
def test_other_machines_are_remote(host: str) -> None:
    assert is_remote({"host": host})
    assert is_remote({"host": "localhost", "hostaddr": host})


@pytest.mark.parametrize("host", LOCAL)
def test_this_machine_and_private_networks_are_not_remote(host: str) -> None:
    assert not is_remote({"host": host})


@pytest.mark.parametrize(
    ("url", "remote"),
    [
        ("postgres://u:p@db.example:5432/x", True),
        ("postgres://u:p@[2001:db8::1]/x", True),
        ("postgres:///x?host=db.example", True),
        ("postgres://localhost/x?hostaddr=203.0.113.7", True),
        ("postgres://db.example/x?hostaddr=127.0.0.1", False),
        ("postgres://u:p@localhost/x", False),
        ("postgres://u:p@[::1]/x", False),
        ("postgres:///x?host=/tmp/a", False),
        ("postgres:///x", False),
    ],
)
def test_a_url_is_read_as_libpq_reads_it(url: str, remote: bool) -> None:
    assert is_remote({"dsn": url}) == remote


def assert_is_refused(response: TestResponse, host: str) -> None:
    assert (response.status_code, response.mimetype) == (403, "application/problem+json")
    detail: str = response.get_json()["detail"]
    assert host in detail
    assert "neither on this machine nor on a private network" in detail
    assert "s3cret" not in detail


@pytest.mark.parametrize("environment", ["development", "test"])
def test_debug_reset_is_forbidden(environment: str) -> None:
    url = "postgres://u:s3cret@db.example/x"
    client = create_app({"DATABASE_URL": url, "APP_ENV": environment}).test_client()
    assert_is_refused(client.get("/api/debug/reset"), "db.example:5432")


def test_debug_reset_is_forbidden_if_libpq_has_connected_elsewhere(
    app: Flask, sql: Sql, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The settings do not contain PGHOSTADDR or a service file, which libpq reads itself.
    before = sql("SELECT count(*), max(id) FROM interviews")
    monkeypatch.setattr("app.database.hosts.is_remote", lambda database: "dsn" not in database)
    assert app.test_client().get("/api/debug/reset").status_code == 403
    assert sql("SELECT count(*), max(id) FROM interviews") == before


def test_flask_db_reset_is_refused_without_yes(run_command: Run) -> None:
    url = "postgres://u:s3cret@203.0.113.7/x"
    finished = run_command("flask db reset", DATABASE_URL=url)
    assert finished.returncode == 1
    assert "flask db reset --yes" in finished.stderr
    assert "s3cret" not in finished.stderr


def test_flask_db_reset_with_yes_reports_an_unreachable_database(run_command: Run) -> None:
    url = "postgres://127.0.0.1:1/x"
    finished = run_command("flask db reset --yes", DATABASE_URL=url, APP_ENV="production")
    assert finished.returncode == 1
    assert "could not be reset" in finished.stderr
