"""How a picture covers a size: scaled, never stretched. Whole numbers throughout, no pixels.

Here, and not beside the cropping, because rules of the recipe ask it too.
"""

from __future__ import annotations

from lora_recipes.recipe.size import Size


def cover(size: Size, target: Size) -> Size:
    """The smallest size of the same shape, rounded to whole pixels, that covers the target.

    scale = max(target_w / w, target_h / h); one axis then fits exactly and the other is rounded
    to the nearest pixel, so that a picture is never stretched by more than half a pixel.
    """
    (width, height), (target_width, target_height) = size, target
    if target_width * height >= target_height * width:
        return target_width, _rounded(height * target_width, width)
    return _rounded(width * target_height, height), target_height


def is_smaller(size: Size, target: Size) -> bool:
    """Whether a picture would have to be enlarged to cover the target."""
    return size[0] < target[0] or size[1] < target[1]


def fits(size: Size, target: Size) -> bool:
    """Whether a picture has the target's shape, within rounding: nothing would be cropped."""
    return cover(size, target) == target


def _rounded(numerator: int, denominator: int) -> int:
    """The nearest whole number, halves up."""
    return (2 * numerator + denominator) // (2 * denominator)
