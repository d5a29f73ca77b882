"""Draws the reads as an SVG: requests a second, and CPU time a request."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from html import escape
from typing import NamedTuple

from bench import load
from bench.load import Sample
from bench.reads import Samples

# In pixels.
WIDTH = 860
TOP = 84
BAR = 18
STEP = 26
GROUP_GAP = 44
BOTTOM = 16
PATH_LINE = 12
BASELINE = BAR - 5
NAMES_END = 138

# Colours that read on white and on GitHub's dark page; each server keeps its own.
STYLE = """\
text { font: 13px system-ui, "Segoe UI", Helvetica, Arial, sans-serif; fill: #1f2328 }
.title { font-size: 16px; font-weight: 600 }
.path { font-weight: 600 }
.quiet { fill: #59636e }
.name { text-anchor: end }
.axis { stroke: #d1d9e0 }
.bar0 { fill: #0969da } .bar1 { fill: #8c959f } .bar2 { fill: #bc4c00 } .bar3 { fill: #8250df }
.postgres { opacity: .45 }
@media (prefers-color-scheme: dark) {
  text { fill: #f0f6fc }
  .quiet { fill: #9198a1 }
  .axis { stroke: #3d444d }
  .bar0 { fill: #4493f8 } .bar1 { fill: #7d8590 } .bar2 { fill: #f0883e } .bar3 { fill: #ab7df8 }
}
"""
COLOURS = 4


class Panel(NamedTuple):
    """One of the two halves: where its bars begin, how long the longest is, what that means."""

    title: str
    left: int
    width: int
    most: float

    def length(self, value: float) -> float:
        """How long a bar is."""
        return self.width * value / self.most


def draw(samples: Samples, subtitle: str) -> str:
    """Draw the medians of reads.run's samples."""
    medians = {
        path: {name: load.median(of_name) for name, of_name in of_path.items()}
        for path, of_path in samples.items()
    }
    everything = [sample for of_path in medians.values() for sample in of_path.values()]
    rates = Panel("requests a second", 150, 250, max(sample.rate for sample in everything))
    costs = Panel(
        "CPU µs a request (pale: PostgreSQL's)", 566, 230, max(map(_cpu, everything)) or 1.0
    )
    lines: list[str] = []
    y = TOP
    for path, of_path in medians.items():
        lines += _group(y, path, of_path, rates, costs)
        y += _height(of_path) + GROUP_GAP
    height = y - GROUP_GAP + BOTTOM
    head = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" '
        f'width="{WIDTH}" height="{height}" role="img" aria-labelledby="title">',
        '<title id="title">Reads: requests a second and CPU time a request</title>',
        f"<style>\n{STYLE}</style>",
        '<text class="title" x="16" y="26">Reads</text>',
        f'<text class="quiet" x="{rates.left}" y="26">{escape(subtitle)}</text>',
        *(
            f'<text class="quiet" x="{panel.left}" y="52">{panel.title}</text>'
            for panel in (rates, costs)
        ),
    ]
    return "\n".join([*head, *lines, "</svg>\n"])


def _height(of_path: Mapping[str, Sample]) -> int:
    return PATH_LINE + STEP * len(of_path) - STEP + BAR


def _group(
    y: int, path: str, of_path: Mapping[str, Sample], rates: Panel, costs: Panel
) -> Iterator[str]:
    """One path: its name, and below it a bar for each server in both panels."""
    yield f'<text class="path" x="{rates.left}" y="{y}">GET {escape(path)}</text>'
    for panel in (rates, costs):
        top, height = y + PATH_LINE - 3, _height(of_path) - PATH_LINE + 6
        yield f'<path class="axis" d="M{panel.left - 0.5} {top}v{height}"/>'
    for number, (name, sample) in enumerate(of_path.items()):
        top = y + PATH_LINE + number * STEP
        colour = f"bar{number % COLOURS}"
        yield f'<text class="name" x="{NAMES_END}" y="{top + BASELINE}">{escape(name)}</text>'
        yield from _rate(top, colour, sample, rates)
        if not math.isnan(sample.server_cpu):
            yield from _cost(top, colour, sample, costs)


def _rate(top: int, colour: str, sample: Sample, panel: Panel) -> Iterator[str]:
    length = panel.length(sample.rate)
    yield _bar(colour, panel.left, top, length)
    yield (
        f'<text x="{panel.left + length + 7:.1f}" y="{top + BASELINE}">{sample.rate:,.0f}'
        f'<tspan class="quiet" dx="7">p99 {sample.p99 * 1e3:.1f} ms</tspan></text>'
    )


def _cost(top: int, colour: str, sample: Sample, panel: Panel) -> Iterator[str]:
    middle = panel.left + panel.length(sample.server_cpu)
    end = panel.left + panel.length(_cpu(sample))
    yield _bar(colour, panel.left, top, middle - panel.left)
    if end > middle:
        yield _bar(f"{colour} postgres", middle, top, end - middle)
    label = f"{_cpu(sample) * 1e6:,.0f}"
    yield f'<text x="{end + 7:.1f}" y="{top + BASELINE}">{label}</text>'


def _bar(kind: str, x: float, y: int, length: float) -> str:
    return f'<rect class="{kind}" x="{x:.1f}" y="{y}" width="{length:.1f}" height="{BAR}"/>'


def _cpu(sample: Sample) -> float:
    known = (sample.server_cpu, sample.postgres_cpu)
    return sum(seconds for seconds in known if not math.isnan(seconds))
