"""Draw the reads: requests per second of each server, labelled with CPU time per request."""

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
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(10, 6.5), layout="constrained")
        grid = figure.subplots(3, 2, sharex=True, sharey=True)
        for column, (kind, requests) in zip(grid.T, reads.items(), strict=True):
            for axes, (request, servers) in zip(column, requests.items(), strict=True):
                medians = [load.median(loads) for loads in servers.values()]
                bars = axes.barh(list(servers), [one.rate for one in medians], color=COLOURS)
                axes.bar_label(bars, [_label(one) for one in medians], padding=4)
                axes.set_title(f"{request}, {kind}", loc="left", fontweight="bold", fontsize=10)
                axes.xaxis.set_major_formatter("{x:,.0f}")
        axes.invert_yaxis()
        axes.set_xlim(right=axes.get_xlim()[1] * 1.3)  # room for the labels
        figure.supxlabel("requests/s; CPU µs a request, the server's + PostgreSQL's", fontsize=10)
        figure.savefig(file, metadata={"Date": None})


def _label(one: load.Load) -> str:
    postgres = f" + {report.us(one.postgres_cpu)}" if one.postgres_cpu > 2e-6 else ""
    return f"{one.rate:,.0f}; {report.us(one.server_cpu)}{postgres} µs"
