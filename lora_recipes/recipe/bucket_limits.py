"""Between which sides the buckets of a recipe lie."""

from __future__ import annotations

from dataclasses import dataclass
from math import isqrt, prod

from lora_recipes.recipe.sections.prepare import Prepare
from lora_recipes.recipe.size import size_of

SMALLEST = 64
"""Pixels. No side of a training picture is shorter, whatever the recipe: see `Pixels`."""


@dataclass(frozen=True)
class BucketLimits:
    """What decides which buckets there are. In pixels."""

    area: int
    """No bucket has more."""

    step: int
    """Each side is a multiple of it."""

    low: int
    """No side is shorter, none longer than `high`."""

    high: int

    @property
    def square(self) -> int:
        """The side of the square bucket."""
        return isqrt(self.area) // self.step * self.step


def bucket_limits(prepare: Prepare) -> BucketLimits:
    """The limits that a recipe sets; `auto` follows from the area."""
    area = prod(size_of(prepare.resolution))
    low = max(SMALLEST, isqrt(area) // 2) if prepare.min_bucket == "auto" else prepare.min_bucket
    high = 2 * isqrt(area) if prepare.max_bucket == "auto" else prepare.max_bucket
    return BucketLimits(area, prepare.bucket_step, low, high)
