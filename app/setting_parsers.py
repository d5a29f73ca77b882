"""Parsers of settings: from the text of an environment variable to a value.

Each raises `ValueError` with a message that continues the setting's name: "must be …".
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable

import psycopg2
from psycopg2.extensions import parse_dsn


def database_url(text: str) -> str:
    """Return a PostgreSQL URL, without the quotes or semicolon of a copied shell line."""
    url = text.strip("\"'; \t\r\n")
    if not url:
        return ""
    if not re.match(r"postgres(ql)?://", url):
        raise ValueError("must start with postgres:// or postgresql://")
    try:
        parse_dsn(url)
    except psycopg2.ProgrammingError:
        # libpq's message quotes the URL, and with it the password.
        raise ValueError(
            "must be a URL that PostgreSQL understands: "
            "postgres://USER:PASSWORD@HOST:PORT/DATABASE, with special characters "
            "in the password percent-encoded"
        ) from None
    return url


def environment(text: str) -> str:
    """Return the value of `APP_ENV`."""
    if text not in {"production", "development", "test"}:
        raise ValueError("must be production, development or test")
    return text


def integer(lowest: int, highest: int) -> Callable[[str], int]:
    """Return a parser of integers in a range, both ends included."""

    def parse(text: str) -> int:
        if not re.fullmatch(r"[0-9]{1,9}", text) or not lowest <= int(text) <= highest:
            raise ValueError(f"must be an integer from {lowest} to {highest}")
        return int(text)

    return parse


def seconds(text: str) -> float:
    """Return seconds, at most 25: Heroku's router times out a request after 30."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 <= value <= 25:
        raise ValueError("must be a number of seconds from 0 to 25")
    return value


def switch(text: str) -> bool:
    """Return whether a switch is on."""
    word = text.lower()
    if word in {"1", "true", "yes", "on"}:
        return True
    if word in {"0", "false", "no", "off"}:
        return False
    raise ValueError("must be one of true, yes, on, 1, false, no, off, 0")


def origins(text: str) -> frozenset[str]:
    """Return origins as browsers send them: no default port (RFC 6454, section 6.2)."""
    accepted = set()
    for word in text.split(","):
        origin = word.strip().rstrip("/").lower()
        if not origin:
            continue
        if origin != "*" and not re.fullmatch(r"[a-z][a-z0-9+.-]*://[a-z0-9.:\[\]_-]+", origin):
            raise ValueError("must be * or a list of origins: https://a.example,https://b.example")
        accepted.add(re.sub(r"^(http://.*):80$|^(https://.*):443$", r"\1\2", origin))
    return frozenset({"*"} if "*" in accepted or not accepted else accepted)
