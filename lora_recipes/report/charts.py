"""Line charts for inline SVG: no script, no font, colours from the page's style.

All numbers in a drawing are rounded to a tenth, so that equal data give equal bytes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

Point = tuple[float, float]

MOST_POINTS = 500
MARKS_WITH_NAMES = 6


@dataclass(frozen=True)
class Line:
    """One curve; `kind` is its class in the style: raw, smooth, rate, heldout, control."""

    kind: str
    points: Sequence[Point]


@dataclass(frozen=True)
class Chart:
    """What to draw. Values above `top` are cut off; `marks` are steps with a name."""

    title: str
    summary: str
    """What a reader who cannot see the drawing should know."""

    lines: Sequence[Line]
    x_name: str
    top: float
    marks: Sequence[tuple[float, str]] = ()
    cut: int = 0
    """How many values lie above `top`."""


@dataclass(frozen=True)
class Box:
    """The drawing's size, and the frame inside it; x counts to the right and y downwards."""

    width: int = 460
    height: int = 230
    left: int = 54
    right: int = 448
    top: int = 14
    bottom: int = 196


@dataclass(frozen=True)
class Drawing:
    """Where everything lies, for the template."""

    chart: Chart
    box: Box
    rows: list[tuple[float, str]]
    """y of each grid line, and its number."""

    columns: list[tuple[float, str]]
    """x of each number below the frame."""

    marks: list[tuple[float, str]]
    curves: list[tuple[str, list[Point]]]
    """Kind and points of each line."""


def draw(chart: Chart) -> Drawing:
    """Lay a chart out."""
    box = Box()
    across = [x for line in chart.lines for x, _ in line.points]
    first, last = min(across, default=0.0), max(across, default=1.0)
    y_ticks = ticks(0.0, chart.top, 4)
    top = max(chart.top, y_ticks[-1])

    def place_x(x: float) -> float:
        share = (x - first) / (last - first) if last > first else 0.5
        return round(box.left + share * (box.right - box.left), 1)

    def place_y(y: float) -> float:
        return round(box.bottom - min(max(y / top, 0.0), 1.0) * (box.bottom - box.top), 1)

    named = len(chart.marks) <= MARKS_WITH_NAMES
    return Drawing(
        chart,
        box,
        rows=[(place_y(y), spell(y)) for y in y_ticks],
        columns=[(place_x(x), spell(x)) for x in ticks(first, last, 5)],
        marks=[(place_x(x), text if named else "") for x, text in chart.marks],
        curves=[
            (line.kind, [(place_x(x), place_y(y)) for x, y in thin(line.points)])
            for line in chart.lines
        ],
    )


def ticks(low: float, high: float, about: int) -> list[float]:
    """Round numbers from `low` to about `high`: 1, 2 or 5 times a power of ten apart."""
    span = high - low
    if span <= 0:
        return [low]
    power = 10.0 ** math.floor(math.log10(span / about))
    step = next(power * m for m in (1, 2, 5, 10) if span / (power * m) <= about)
    first = math.ceil(low / step - 1e-9)
    return [round(index * step, 12) for index in range(first, math.floor(high / step + 1e-9) + 1)]


def spell(value: float) -> str:
    """A tick's number as people write it: 0.05, 1e-4, 1,500."""
    if value == 0:
        return "0"
    if abs(value) < 0.001:  # noqa: PLR2004
        digits, power = f"{value:.3e}".split("e")
        return f"{float(digits):g}e{int(power)}"
    if value == int(value):
        return f"{int(value):,}"
    return f"{value:.6g}"


def thin(points: Sequence[Point]) -> list[Point]:
    """At most about `MOST_POINTS` points: of each stretch the lowest and the highest stay."""
    if len(points) <= MOST_POINTS:
        return list(points)
    stretch = math.ceil(2 * len(points) / MOST_POINTS)
    kept: list[Point] = []
    for start in range(0, len(points), stretch):
        piece = points[start : start + stretch]
        extremes = {min(piece, key=lambda p: p[1]), max(piece, key=lambda p: p[1])}
        kept += sorted(extremes)
    return kept
