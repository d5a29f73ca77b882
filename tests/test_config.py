"""The settings: defaults, what is forgiven, what is refused, where they are read from."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from unittest.mock import ANY

import psycopg2
import pytest

from app import create_app
from app.config import SETTINGS, ConfigError, read_settings

URL = "postgresql://ada:secret@db.example:5433/scheduler"


def test_the_defaults_are_safe_on_a_host_that_sets_nothing() -> None:
    assert read_settings({}) == {
        "DATABASE_URL": None,
        "PGHOST": None,
        "PGPORT": None,
        "PGUSER": None,
        "PGPASSWORD": None,
        "PGDATABASE": None,
        "APP_ENV": "production",
        "PORT": 8001,
        "WEB_CONCURRENCY": 2,
        "CORS_ORIGINS": frozenset({"*"}),
        "SAVE_DELAY": 0.0,
        "TEST_ERROR": None,
        "DB_POOL_SIZE": 3,
        "DATABASE": {},
    }


@pytest.mark.parametrize("blank", ["", " ", "\t", " \r\n"], ids=repr)
def test_a_blank_setting_counts_as_unset(blank: str) -> None:
    assert read_settings({setting.name: blank for setting in SETTINGS}) == read_settings({})


def test_every_setting_is_documented_and_named_once() -> None:
    names = [setting.name for setting in SETTINGS]
    assert len(names) == len(set(names))
    assert all(setting.purpose for setting in SETTINGS)


def test_unknown_variables_are_ignored() -> None:
    assert read_settings({"HOME": "/root", "PORTS": "x", "port": "x"}) == read_settings({})


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("APP_ENV", "production", "production"),
        ("APP_ENV", "development", "development"),
        ("APP_ENV", " test ", "test"),
        ("PORT", "1", 1),
        ("PORT", "65535", 65535),
        ("PORT", " 5000 ", 5000),
        ("WEB_CONCURRENCY", "1", 1),
        ("DB_POOL_SIZE", "10", 10),
        ("SAVE_DELAY", "0", 0.0),
        ("SAVE_DELAY", "1", 1.0),
        ("SAVE_DELAY", "0.25", 0.25),
        ("SAVE_DELAY", ".5", 0.5),
        ("TEST_ERROR", "1", True),
        ("TEST_ERROR", "true", True),
        ("TEST_ERROR", "YES", True),
        ("TEST_ERROR", "On", True),
        ("TEST_ERROR", "0", False),
        ("TEST_ERROR", "false", False),
        ("TEST_ERROR", "no", False),
        ("TEST_ERROR", "off", False),
        ("TEST_ERROR", "FALSE", False),
        ("TEST_ERROR", " off ", False),
        ("CORS_ORIGINS", "*", {"*"}),
        ("CORS_ORIGINS", "https://a.example", {"https://a.example"}),
        (
            "CORS_ORIGINS",
            " https://a.example ,http://localhost:8000,, ",
            {"https://a.example", "http://localhost:8000"},
        ),
        ("CORS_ORIGINS", "https://a.example,*", {"*"}),
        ("CORS_ORIGINS", "https://a.example,https://a.example", {"https://a.example"}),
        ("CORS_ORIGINS", "HTTPS://A.Example/", {"https://a.example"}),
        ("CORS_ORIGINS", "https://a.example:443", {"https://a.example"}),
        ("CORS_ORIGINS", "http://a.example:80", {"http://a.example"}),
        ("CORS_ORIGINS", "http://a.example:443", {"http://a.example:443"}),
        ("CORS_ORIGINS", "https://a.example:8080", {"https://a.example:8080"}),
        ("CORS_ORIGINS", "http://[::1]:3000", {"http://[::1]:3000"}),
        ("CORS_ORIGINS", "capacitor://localhost", {"capacitor://localhost"}),
        ("CORS_ORIGINS", "chrome-extension://abcdef", {"chrome-extension://abcdef"}),
        ("CORS_ORIGINS", ",", {"*"}),
    ],
)
def test_a_valid_setting_is_parsed(name: str, text: str, value: object) -> None:
    assert read_settings({name: text})[name] == value


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("APP_ENV", "staging"),
        ("APP_ENV", "Production"),
        ("APP_ENV", "prod"),
        ("APP_ENV", "../test"),
        ("PORT", "0"),
        ("PORT", "-1"),
        ("PORT", "65536"),
        ("PORT", "80.0"),
        ("PORT", "http"),
        ("PORT", "٨٠"),
        ("PORT", "8_001"),
        ("PORT", "9" * 5000),
        ("PGPORT", "x"),
        ("PGPORT", "70000"),
        ("WEB_CONCURRENCY", "0"),
        ("WEB_CONCURRENCY", "-2"),
        ("WEB_CONCURRENCY", "many"),
        ("WEB_CONCURRENCY", "1.5"),
        ("WEB_CONCURRENCY", "100000"),
        ("DB_POOL_SIZE", "0"),
        ("DB_POOL_SIZE", "none"),
        ("TEST_ERROR", "ture"),
        ("TEST_ERROR", "maybe"),
        ("TEST_ERROR", "2"),
        ("SAVE_DELAY", "-1"),
        ("SAVE_DELAY", "soon"),
        ("SAVE_DELAY", "1s"),
        ("SAVE_DELAY", "nan"),
        ("SAVE_DELAY", "inf"),
        ("SAVE_DELAY", "3600"),
        ("CORS_ORIGINS", "app.example"),
        ("CORS_ORIGINS", "localhost:8000"),
        ("CORS_ORIGINS", "https://a.example/path"),
        ("CORS_ORIGINS", "https://a.example https://b.example"),
        ("CORS_ORIGINS", "https://*.a.example/x"),
        ("CORS_ORIGINS", "https://"),
        ("CORS_ORIGINS", "https://ada:secret@a.example"),
        ("CORS_ORIGINS", "null"),
        ("DATABASE_URL", "mysql://ada:secret@db.example/x"),
        ("DATABASE_URL", "db.example"),
        ("DATABASE_URL", "host=db.example password=secret"),
        ("DATABASE_URL", "POSTGRES//ada:secret@db.example/x"),
        ("DATABASE_URL", "postgres://ada:secret@db.example:port/x?a"),
        ("DATABASE_URL", "postgres://ada:secret@db.example/x?nonsense=secret"),
        ("DATABASE_URL", "postgres://ada:sec%ret@db.example/x"),
        ("DATABASE_URL", "postgres://ada:secret@[::1/x"),
    ],
)
def test_an_invalid_setting_is_refused_by_name_without_a_secret(name: str, text: str) -> None:
    with pytest.raises(ConfigError) as refused:
        read_settings({name: text, "PGPASSWORD": "secret"})
    message = str(refused.value)
    assert message.startswith(f"{name} ")
    assert "secret" not in message
    assert "sec%ret" not in message
    assert "\n" not in message
    assert len(message) < 250
    assert refused.value.__cause__ is None
    with pytest.raises(ConfigError):
        create_app({name: text})


@pytest.mark.parametrize(
    "text",
    [
        URL,
        f" {URL} ",
        f"\t{URL}\r\n",
        f'"{URL}"',
        f"'{URL}'",
        f"{URL};",
        f'"{URL}";',
        f'"{URL};"',
        f" '{URL}' ; ",
    ],
    ids=repr,
)
def test_quotes_and_blanks_around_a_url_are_ignored(text: str) -> None:
    settings = read_settings({"DATABASE_URL": text})
    assert settings["DATABASE_URL"] == URL
    assert settings["DATABASE"] == {"dsn": URL}


@pytest.mark.parametrize(
    "url",
    [
        "postgres://ada:secret@db.example/x",
        "postgresql://ada:secret@db.example/x",
        "postgresql://db.example/x?sslmode=disable",
        "postgresql:///x?host=/tmp/socket&user=ada",
        "postgres://ada:a%40b%2Fc%3B@db.example/x",
        "postgresql://[::1]:5432/x",
        "postgres://",
    ],
)
def test_a_url_is_used_unchanged(url: str) -> None:
    assert read_settings({"DATABASE_URL": url})["DATABASE"] == {"dsn": url}


PARTS = {
    "PGHOST": "db.example",
    "PGPORT": "5433",
    "PGUSER": "ada",
    "PGPASSWORD": "a b;'\"",
    "PGDATABASE": "scheduler",
}
KEYWORDS = {
    "host": "db.example",
    "port": 5433,
    "user": "ada",
    "password": "a b;'\"",
    "dbname": "scheduler",
}


@pytest.mark.parametrize("url", [None, "", "  "], ids=repr)
def test_the_parts_are_used_if_the_url_is_unset(url: str | None) -> None:
    environ = PARTS if url is None else {**PARTS, "DATABASE_URL": url}
    assert read_settings(environ)["DATABASE"] == KEYWORDS


def test_the_url_overrides_the_parts() -> None:
    assert read_settings({**PARTS, "DATABASE_URL": URL})["DATABASE"] == {"dsn": URL}


@pytest.mark.parametrize("name", PARTS)
def test_a_blank_part_counts_as_unset(name: str) -> None:
    keywords = dict(zip(PARTS, KEYWORDS.items(), strict=True))
    keywords.pop(name)
    expected = dict(keywords.values())
    assert read_settings({**PARTS, name: " "})["DATABASE"] == expected
    assert read_settings({key: PARTS[key] for key in keywords})["DATABASE"] == expected


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({"DATABASE_URL": URL}, {"dsn": URL, "sslmode": "require"}),
        (PARTS, {**KEYWORDS, "sslmode": "require"}),
        ({}, {"sslmode": "require"}),
        ({"DATABASE_URL": f"{URL}?sslmode=disable"}, {"dsn": ANY, "sslmode": "require"}),
        ({"DATABASE_URL": f"{URL}?sslmode=verify-full"}, {"dsn": f"{URL}?sslmode=verify-full"}),
        ({"DATABASE_URL": URL, "PGSSLMODE": "verify-ca"}, {"dsn": URL}),
    ],
    ids=["url", "parts", "nothing", "not encrypted", "verified", "verified by PGSSLMODE"],
)
def test_on_heroku_connections_are_encrypted(
    environ: Mapping[str, str], expected: dict[str, Any]
) -> None:
    assert read_settings({**environ, "DYNO": "web.1"})["DATABASE"] == expected


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """The process's environment, without any setting of ours."""
    for name in [*(setting.name for setting in SETTINGS), "DYNO"]:
        monkeypatch.delenv(name, raising=False)
    return monkeypatch


def test_without_files_only_the_environment_counts(
    environment: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert read_settings(root=tmp_path) == read_settings({})
    environment.setenv("PORT", "5001")
    assert read_settings(root=tmp_path) == read_settings({"PORT": "5001"})


def test_the_environment_overrides_dotenv_which_overrides_dotenv_app_env(
    environment: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    environment.setenv("APP_ENV", "test")
    environment.setenv("PORT", "5001")
    (tmp_path / ".env").write_text("PORT=5002\nDB_POOL_SIZE=5\n")
    (tmp_path / ".env.test").write_text("PORT=5003\nDB_POOL_SIZE=6\nWEB_CONCURRENCY=7\n")
    (tmp_path / ".env.development").write_text("SAVE_DELAY=8\n")
    (tmp_path / ".env.production").write_text("SAVE_DELAY=9\n")
    assert read_settings(root=tmp_path) == read_settings(
        {"APP_ENV": "test", "PORT": "5001", "DB_POOL_SIZE": "5", "WEB_CONCURRENCY": "7"}
    )


def test_the_app_env_may_be_set_in_env(environment: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("APP_ENV=development\n")
    (tmp_path / ".env.development").write_text("SAVE_DELAY=1\nAPP_ENV=test\n")
    (tmp_path / ".env.production").write_text("SAVE_DELAY=2\n")
    (tmp_path / ".env.test").write_text("SAVE_DELAY=3\n")
    assert read_settings(root=tmp_path) == read_settings(
        {"APP_ENV": "development", "SAVE_DELAY": "1"}
    )


def test_without_an_app_env_the_production_file_is_read(
    environment: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / ".env.production").write_text("SAVE_DELAY=2\n")
    (tmp_path / ".env.test").write_text("SAVE_DELAY=3\n")
    assert read_settings(root=tmp_path) == read_settings({"SAVE_DELAY": "2"})


def test_a_blank_setting_is_filled_in_by_the_next_source(
    environment: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    environment.setenv("PORT", "")
    environment.setenv("DATABASE_URL", " ")
    environment.setenv("APP_ENV", "")
    (tmp_path / ".env").write_text("PORT=\nAPP_ENV=\nDATABASE_URL=''\nWEB_CONCURRENCY\n")
    (tmp_path / ".env.production").write_text(f"PORT=5003\nDATABASE_URL={URL}\n")
    assert read_settings(root=tmp_path) == read_settings({"PORT": "5003", "DATABASE_URL": URL})


@pytest.mark.parametrize(
    "line",
    [
        f"DATABASE_URL={URL}",
        f'DATABASE_URL="{URL}"',
        f"export DATABASE_URL='{URL}'",
        f"DATABASE_URL = {URL};",
        f"# where PostgreSQL is\nDATABASE_URL={URL} # here\n",
    ],
)
def test_common_ways_to_write_a_url_in_a_file_work(
    environment: pytest.MonkeyPatch, tmp_path: Path, line: str
) -> None:
    (tmp_path / ".env").write_text(line)
    assert read_settings(root=tmp_path)["DATABASE"] == {"dsn": URL}


def test_a_password_in_a_file_is_not_interpolated(
    environment: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    environment.setenv("HOME", "/root")
    (tmp_path / ".env").write_text("PGPASSWORD=a${HOME}b$HOME\n")
    assert read_settings(root=tmp_path)["DATABASE"] == {"password": "a${HOME}b$HOME"}


def test_the_files_do_not_change_the_environment(
    environment: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    before = dict(os.environ)
    (tmp_path / ".env").write_text("PORT=5002\nPGHOST=db.example\n")
    read_settings(root=tmp_path)
    assert dict(os.environ) == before


def test_libpq_uses_its_default_for_a_blank_part(
    environment: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    blanks = {"PGPORT": " ", "PGUSER": "\t", "PGDATABASE": ""}
    for name, value in {**blanks, "PGHOST": str(tmp_path)}.items():
        environment.setenv(name, value)
    arguments = read_settings(root=tmp_path)["DATABASE"]
    assert arguments == {"host": str(tmp_path), "port": "", "user": ""}
    with pytest.raises(psycopg2.OperationalError, match=r"s\.PGSQL\.5432"):
        psycopg2.connect(**arguments)
    environment.setenv("DATABASE_URL", URL)
    assert read_settings(root=tmp_path)["DATABASE"] == {"dsn": URL}
    environment.setenv("DATABASE_URL", "postgres://db.example/x")
    arguments = read_settings(root=tmp_path)["DATABASE"]
    assert arguments == {"dsn": "postgres://db.example/x", "port": "", "user": ""}
    assert blanks.items() <= dict(os.environ).items()


def test_a_mapping_replaces_the_environment_and_the_files(
    environment: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    environment.setenv("PORT", "5001")
    (tmp_path / ".env").write_text("PORT=5002\n")
    assert read_settings({}, root=tmp_path)["PORT"] == 8001


def test_a_mistake_in_a_file_is_refused_like_one_in_the_environment(
    environment: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / ".env").write_text("PORT=eighty\n")
    with pytest.raises(ConfigError, match=r"^PORT "):
        read_settings(root=tmp_path)
