"""How many tokens of a caption are read: one window of CLIP's, or several side by side."""

from __future__ import annotations

WINDOW = 75
"""The tokens of a window between its start and its end."""


def windows(max_tokens: int) -> int:
    """The windows behind `encode.max_tokens`.

    >>> [windows(choice) for choice in (77, 150, 225)]
    [1, 2, 3]
    """
    return max_tokens // WINDOW


def tokens_read(max_tokens: int) -> int:
    """How many tokens are read, the start and the end included: 77, 152 or 227.

    Source: kohya-ss/sd-scripts, library/strategy_sdxl.py.
    """
    return windows(max_tokens) * WINDOW + 2
