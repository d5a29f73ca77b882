"""The message for an invalid setting.

It names what is accepted and, unless it is a secret, the value.
"""

from __future__ import annotations

import pytest

from app.config import ConfigError, read_settings

ORIGINS = "must be * or a list of origins: https://a.example,https://b.example"


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("APP_ENV", "nonsense", 'must be production, development or test, not "nonsense"'),
        ("PORT", "eighty", 'must be an integer from 1 to 65535, not "eighty"'),
        ("PGPORT", "x", 'must be an integer from 1 to 65535, not "x"'),
        ("WEB_CONCURRENCY", "0", 'must be an integer from 1 to 64, not "0"'),
        ("DB_POOL_SIZE", "1.5", 'must be an integer from 1 to 100, not "1.5"'),
        ("SAVE_DELAY", "1s", 'must be a number of seconds from 0 to 25, not "1s"'),
        ("TEST_ERROR", "ture", 'must be one of true, yes, on, 1, false, no, off, 0, not "ture"'),
        ("CORS_ORIGINS", "app.example", f'{ORIGINS}, not "app.example"'),
    ],
)
def test_it_says_what_is_accepted_and_what_was_there(name: str, text: str, message: str) -> None:
    with pytest.raises(ConfigError) as refused:
        read_settings({name: text})
    assert str(refused.value) == f"{name} {message}"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ('a"b', r'"a\"b"'),
        ("a\tb\nc", r'"a\tb\nc"'),
        ("9" * 5000, f'"{"9" * 60}…"'),
        ("https://ada:secret@a.example", '"https://…@a.example"'),
        ("https://ada:se/cr@et@a.example", '"https://…@a.example"'),
    ],
    ids=["quote", "line break", "long", "password", "password with / and @"],
)
def test_the_value_is_one_short_line_without_a_password(text: str, shown: str) -> None:
    with pytest.raises(ConfigError) as refused:
        read_settings({"PORT": text})
    assert str(refused.value) == f"PORT must be an integer from 1 to 65535, not {shown}"


def test_a_secret_is_not_shown() -> None:
    with pytest.raises(ConfigError) as refused:
        read_settings({"DATABASE_URL": "mysql://ada:secret@db.example/x"})
    assert str(refused.value) == "DATABASE_URL must start with postgres:// or postgresql://"
