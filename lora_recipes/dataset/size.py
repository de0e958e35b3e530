"""A picture's width and height."""

from __future__ import annotations

from math import gcd

from lora_recipes.recipe.size import Size

LARGEST_TERM = 32
"""Aspect ratios with larger terms are told as a decimal."""


def shape(size: Size) -> str:
    """A size's aspect ratio in words: `3:2` where the terms are small, else `1.33:1`."""
    divisor = gcd(*size)
    width, height = size[0] // divisor, size[1] // divisor
    if max(width, height) <= LARGEST_TERM:
        return f"{width}:{height}"
    return f"{width / height:.2f}:1" if width >= height else f"1:{height / width:.2f}"
