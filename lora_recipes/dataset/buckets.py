"""Which size a picture is trained at: one for all, or that of the bucket which keeps most of it.

Whole numbers throughout, ratios compared by cross-multiplication. The table is that of
kohya-ss/sd-scripts. Its choice goes by the difference of width / height, by which a photo and the
same photo turned by 90° can end in two shapes; here the bucket counts that most of the picture is
left in.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

from lora_recipes.recipe.bucket_limits import SMALLEST, BucketLimits, bucket_limits
from lora_recipes.recipe.cover import is_smaller
from lora_recipes.recipe.sections.prepare import Prepare
from lora_recipes.recipe.size import Size, size_of


def target_of(size: Size, prepare: Prepare) -> Size:
    """The size that a picture of this size is trained at.

    Without `prepare.upscale`, a picture that is smaller than its bucket gets what it has of it, in
    whole steps, but no side below `SMALLEST`: one that is smaller still would be enlarged.

    Args:
        size: of the upright original.
    """
    if not prepare.buckets:
        return size_of(prepare.resolution)
    limits = bucket_limits(prepare)
    bucket = nearest(size, bucket_sizes(limits))
    if prepare.upscale or not is_smaller(size, bucket):
        return bucket
    least = _steps(SMALLEST + limits.step - 1, limits.step)
    width, height = (
        min(side, max(least, _steps(has, limits.step)))
        for side, has in zip(bucket, size, strict=True)
    )
    return width, height


@lru_cache
def bucket_sizes(limits: BucketLimits) -> tuple[Size, ...]:
    """Every bucket, the narrowest first: the square, and with each side the longest other one.

    Source: kohya-ss/sd-scripts, `make_bucket_resolutions`.
    """
    step, longest = limits.step, _steps(limits.high, limits.step)
    found = {(limits.square, limits.square)}
    for width in range(_steps(limits.low + step - 1, step), longest + 1, step):
        height = min(longest, _steps(limits.area // width, step))
        if height >= limits.low:
            found |= {(width, height), (height, width)}
    return tuple(sorted(found))


def nearest(size: Size, buckets: Sequence[Size]) -> Size:
    """The bucket that keeps the largest part of a picture; of equals the wider one.

    With (width, height) = `size`, a bucket keeps low / high of it, where the two are the smaller
    and the larger one of width · bucket's height and height · bucket's width.
    """
    found, best_low, best_high = buckets[0], 0, 1
    for bucket in sorted(buckets):
        across, down = size[0] * bucket[1], size[1] * bucket[0]
        low, high = (across, down) if across < down else (down, across)
        if low * best_high >= best_low * high:
            found, best_low, best_high = bucket, low, high
    return found


def _steps(pixels: int, step: int) -> int:
    """As many pixels as whole steps have of them."""
    return pixels // step * step
