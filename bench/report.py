"""Markdown tables, and the format of figures in them."""

from __future__ import annotations

import math
import re
import statistics
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from bench.load import Load, median
from bench.servers import OURS

_tables: dict[str, str] = {}


def table(title: str, header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a Markdown table: names to the left, figures to the right."""
    rule = ["---", *("---" if name == "server" else "---:" for name in header[1:])]
    lines = (header, rule, *rows)
    _tables[title] = "".join(f"| {' | '.join(cells)} |\n" for cells in lines)
    print(f"\n### {title}\n\n{_tables[title]}", end="", flush=True)


def update(document: Path) -> None:
    """Replace the first table below each of the same titles in a document."""
    text = document.read_text(encoding="utf-8")
    for title, rows in _tables.items():
        section = rf"^(#+ {re.escape(title)}\n(?:(?![#|]).*\n)*)(?:\|.*\n)+"
        text = re.sub(section, lambda match: match[1] + rows, text, flags=re.MULTILINE)  # noqa: B023
    document.write_text(text, encoding="utf-8")


def columns(title: str, header: Sequence[str], figures: Sequence[Mapping[str, str]]) -> None:
    """Print a table with a column per measurement."""
    table(title, header, [[name, *(column[name] for column in figures)] for name in figures[0]])


def comparison(title: str, requests: Mapping[str, Mapping[str, Sequence[Load]]]) -> None:
    """Print medians for each request and server, and how many times faster this server is.

    That factor is the median of the factors of each round.
    """
    rows = []
    for request, servers in requests.items():
        for name, loads in servers.items():
            rounds = zip(servers[OURS], loads, strict=True)
            ratio = statistics.median(ours.rate / max(other.rate, 1e-9) for ours, other in rounds)
            middle = median(loads)
            errors = f" ({middle.errors:.0f} errors)" if middle.errors else ""
            cells = [number(middle.rate) + errors, us(middle.server_cpu), us(middle.postgres_cpu)]
            cells += [ms(middle.p50), ms(middle.p99), f"{ratio:.2f}"]
            rows.append([f"`{request}`", name, *cells])
    figures = [
        "requests/s",
        "CPU µs",
        "PostgreSQL's CPU µs",
        "p50 ms",
        "p99 ms",
        "this server ÷ row",
    ]
    table(title, ["", "server", *figures], rows)


def number(value: float) -> str:
    """Format an integer; a dash if it is unknown."""
    return "–" if math.isnan(value) else f"{value:,.0f}"


def us(seconds: float) -> str:
    """Seconds as microseconds."""
    return number(seconds * 1e6)


def ms(seconds: float) -> str:
    """Seconds as milliseconds."""
    return f"{seconds * 1e3:,.1f}"


def progress(text: str) -> None:
    """Print progress to stderr; the report goes to stdout."""
    print(f"… {text}", file=sys.stderr, flush=True)
