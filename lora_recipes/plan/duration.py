"""How long a training will take: from the best that is known, and said with how sure it is."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from lora_recipes.plan.measured import Measured
from lora_recipes.plan.work import Shape

ROUGHLY = 1.5
"""A time that is scaled by the count of operations is right to within this factor, roughly: small
steps wait for their launches, large ones for their memory."""

FAR = 4.0
"""Scaled by more than this, twice `ROUGHLY` is allowed for."""

MINUTE, HOUR, DAY = 60, 3600, 86_400


@dataclass(frozen=True)
class Duration:
    """Seconds of training, and where they are known from."""

    low: float
    high: float
    source: str
    peak_bytes: int | None = None
    """Measured for the very same shape."""

    def __str__(self) -> str:
        if self.low == self.high:
            return f"about {spoken(self.low)} of training: {self.source}"
        return f"roughly {spoken(self.low)} to {spoken(self.high)} of training: {self.source}"


def duration(shape: Shape, steps: int, measured: Sequence[Measured]) -> Duration | None:
    """The time of so many optimizer steps, or None where nothing tells.

    Args:
        measured: own runs count before the table's rows, and of each the longest run.
    """
    ranked = sorted(measured, key=lambda each: (not each.own, -each.steps))
    same = next((each for each in ranked if each.shape == shape), None)
    if same is not None:
        seconds = steps * same.seconds_per_step
        source = f"measured by this project on the same device ({shape.device})"
        if same.own:
            source = "your run of the same shape on this machine"
        return Duration(seconds, seconds, source, same.peak_bytes)
    near = [each for each in ranked if shape.comparable(each.shape)]
    if not near:
        return None  # a count of operations alone leaves a range of a dozen times
    return _scaled(shape, steps, min(near, key=lambda each: _distance(shape, each)))


def spoken(seconds: float) -> str:
    """A time as one says it.

    >>> spoken(154), spoken(3.2), spoken(7700), spoken(300_000)
    ('2 min 30 s', '3 s', '2 h 10 min', '3 days')
    """
    if seconds >= 2 * DAY:
        return f"{round(seconds / DAY)} days"
    if seconds >= 10 * HOUR:
        return f"{round(seconds / HOUR)} h"
    if seconds < MINUTE:
        return f"{max(1, round(seconds))} s"
    if seconds < 10 * MINUTE:
        minutes, rest = divmod(round(seconds / 10) * 10, MINUTE)
        return f"{minutes} min" + (f" {rest} s" if rest else "")
    if seconds < 1.5 * HOUR:
        return f"{round(seconds / MINUTE)} min"
    hours, minutes = divmod(round(seconds / (10 * MINUTE)) * 10, MINUTE)
    return f"{hours} h" + (f" {minutes} min" if minutes else "")


def _distance(shape: Shape, row: Measured) -> float:
    return abs(math.log(shape.work / row.shape.work))


def _scaled(shape: Shape, steps: int, row: Measured) -> Duration:
    seconds = steps * row.seconds_per_step * shape.work / row.shape.work
    spread = ROUGHLY if _distance(shape, row) <= math.log(FAR) else 2 * ROUGHLY
    what = "a run of yours" if row.own else "a measured row"
    source = f"scaled by its operations from {what} of another shape on the same device"
    return Duration(seconds / spread, seconds * spread, source)
