"""`prepare.resolution` and `sample.size` as width and height."""

from __future__ import annotations

from collections.abc import Sequence

Size = tuple[int, int]
"""Width and height in pixels."""


def size_of(written: int | Sequence[int]) -> Size:
    """One number is both sides of a square.

    >>> size_of(512), size_of([512, 768])
    ((512, 512), (512, 768))
    """
    width, height = (written, written) if isinstance(written, int) else written
    return int(width), int(height)
