"""Tables as text, and how figures are written in them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from bench import load
from bench.load import Sample


def show(title: str, header: Sequence[str], rows: Sequence[Sequence[str]], *notes: str) -> None:
    """Print a table: the first column to the left, the others to the right."""
    widths = [max(len(cell) for cell in column) for column in zip(header, *rows, strict=True)]
    print(f"\n{title}\n")
    for row in (header, ["-" * width for width in widths], *rows):
        first, *others = row
        cells = [cell.rjust(width) for cell, width in zip(others, widths[1:], strict=True)]
        print("  " + "  ".join([first.ljust(widths[0]), *cells]).rstrip())
    for note in notes:
        print(f"  {note}")
    print(flush=True)


def compare(title: str, unit: str, samples: Mapping[str, Sequence[Sample]]) -> None:
    """Print the medians of several that bore the same load; the first is compared with each."""
    first = next(iter(samples.values()))
    rows = []
    for name, of_name in samples.items():
        middle = load.median(of_name)
        rows.append(
            [
                name,
                count(middle.rate),
                milliseconds(middle.p50),
                milliseconds(middle.p99),
                microseconds(middle.server_cpu),
                microseconds(middle.postgres_cpu),
                count(middle.errors),
                ratio(load.median_ratio(first, of_name)),
            ]
        )
    header = ["", unit, "p50 ms", "p99 ms", "CPU µs", "PostgreSQL µs", "errors", "ours ×"]
    show(f"{title}, median of {len(first)} rounds", header, rows)


def count(value: float) -> str:
    """A number without a fraction, with its thousands apart."""
    return "–" if math.isnan(value) else f"{value:,.0f}"


def milliseconds(seconds: float) -> str:
    """Seconds as milliseconds."""
    return "–" if math.isnan(seconds) else f"{seconds * 1e3:,.1f}"


def microseconds(seconds: float) -> str:
    """Seconds as microseconds."""
    return count(seconds * 1e6)


def ratio(value: float) -> str:
    """How many times."""
    return "–" if math.isnan(value) else f"{value:.2f}"
