"""Draws the reads: requests a second of each server, labelled with the CPU time a request."""

from __future__ import annotations

from pathlib import Path

import matplotlib as mpl
from matplotlib.figure import Figure

from bench import load, report
from bench.throughput import Reads

COLOURS = ("#0969da", "#8c959f", "#bc4c00", "#1a7f37", "#8250df")
STYLE = {
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    # The same figures give the same file.
    "svg.fonttype": "none",
    "svg.hashsalt": "reads",
}


def draw(reads: Reads, file: Path) -> None:
    """Draw the medians: a row for each request, a column for each kind of headers."""
    requests = list(next(iter(reads.values())))
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(10, 6.5), layout="constrained")
        grid = figure.subplots(len(requests), len(reads), sharex=True, sharey=True)
        for column, (kind, of_kind) in enumerate(reads.items()):
            for row, request in enumerate(requests):
                axes = grid[row][column]
                names = list(of_kind[request])
                medians = [load.median(of_kind[request][name]) for name in names]
                bars = axes.barh(names, [median.rate for median in medians], color=COLOURS)
                axes.bar_label(bars, [_label(median) for median in medians], padding=4)
                axes.set_title(f"{request}, {kind}", loc="left", fontweight="bold", fontsize=10)
                axes.xaxis.set_major_formatter("{x:,.0f}")
        grid[0][0].invert_yaxis()
        # Room for the labels.
        grid[0][0].set_xlim(right=grid[0][0].get_xlim()[1] * 1.3)
        figure.supxlabel(
            "requests a second; CPU µs a request of the server + PostgreSQL", fontsize=10
        )
        figure.savefig(file, metadata={"Date": None})


def _label(one: load.Load) -> str:
    cpu = report.us(one.server_cpu)
    if one.postgres_cpu * 1e6 >= 2:
        cpu += f" + {report.us(one.postgres_cpu)}"
    return f"{one.rate:,.0f}, {cpu} µs"
