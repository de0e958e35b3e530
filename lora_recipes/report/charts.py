"""Line charts as inline SVG: no script, no font, colours from the page's style.

All numbers in a drawing are rounded to a tenth, so that equal data give equal bytes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from lora_recipes.report.html import Html, tag

Point = tuple[float, float]

WIDTH, HEIGHT = 460.0, 230.0
LEFT, RIGHT, TOP, BOTTOM = 54.0, 12.0, 14.0, 34.0
MOST_POINTS = 500
MARKS_WITH_NAMES = 6


@dataclass(frozen=True)
class Line:
    """One curve; `kind` is its class in the style: raw, smooth, rate."""

    name: str
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


def draw(chart: Chart, name: str) -> Html:
    """The chart as an `<svg>`; `name` makes its element ids unique on the page."""
    last = max((x for line in chart.lines for x, _ in line.points), default=1.0)
    first = min((x for line in chart.lines for x, _ in line.points), default=0.0)
    x_ticks, y_ticks = ticks(first, last, 5), ticks(0.0, chart.top, 4)
    top = max(chart.top, y_ticks[-1])

    def place(point: Point) -> Point:
        across = (point[0] - first) / (last - first) if last > first else 0.5
        up = min(max(point[1] / top, 0.0), 1.0)
        return (
            LEFT + across * (WIDTH - LEFT - RIGHT),
            HEIGHT - BOTTOM - up * (HEIGHT - TOP - BOTTOM),
        )

    return tag(
        "svg",
        tag("title", chart.title, id=f"{name}-title"),
        tag("desc", chart.summary, id=f"{name}-desc"),
        [_across(place((first, y))[1], spell(y)) for y in y_ticks],
        [_along(place((x, 0.0))[0], spell(x)) for x in x_ticks],
        [
            _mark(place((x, 0.0))[0], text if len(chart.marks) <= MARKS_WITH_NAMES else "")
            for x, text in chart.marks
        ],
        [_curve(line, [place(point) for point in thin(line.points)]) for line in chart.lines],
        _text(WIDTH - RIGHT, HEIGHT - 2, chart.x_name, "end"),
        viewBox=f"0 0 {WIDTH:g} {HEIGHT:g}",
        role="img",
        aria_labelledby=f"{name}-title {name}-desc",
        class_="chart",
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


def _curve(line: Line, places: Sequence[Point]) -> Html:
    if len(places) == 1:
        (x, y) = places[0]
        return tag("circle", cx=_round(x), cy=_round(y), r="3", class_=f"dot {line.kind}")
    points = " ".join(f"{_round(x)},{_round(y)}" for x, y in places)
    return tag("polyline", points=points, class_=f"line {line.kind}")


def _across(y: float, text: str) -> Html:
    at = _round(y)
    return tag(
        "g",
        tag("line", x1=_round(LEFT), x2=_round(WIDTH - RIGHT), y1=at, y2=at, class_="grid"),
        _text(LEFT - 7, y + 4, text, "end"),
    )


def _along(x: float, text: str) -> Html:
    return _text(x, HEIGHT - BOTTOM + 17, text, "middle")


def _mark(x: float, text: str) -> Html:
    at = _round(x)
    line = tag("line", x1=at, x2=at, y1=_round(TOP), y2=_round(HEIGHT - BOTTOM), class_="mark")
    return tag("g", line, _text(x - 4, TOP + 9, text, "end") if text else "")


def _text(x: float, y: float, text: str, anchor: str) -> Html:
    return tag("text", text, x=_round(x), y=_round(y), text_anchor=anchor)


def _round(value: float) -> str:
    return f"{value:.1f}"
