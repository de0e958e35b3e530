"""Finding what was probably meant."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

OTHER_NAMES = {
    "gpu": "cuda",
    "nvidia": "cuda",
    "apple": "mps",
    "metal": "mps",
    "float32": "fp32",
    "float16": "fp16",
    "half": "fp16",
    "bfloat16": "bf16",
}
"""What other programs and people call some of our words."""


def nearest(word: object, words: Iterable[str]) -> str | None:
    """The one of `words` that means the same as `word` or looks most like it, if any does.

    >>> nearest("adamW", ["adafactor", "adamw"])
    'adamw'
    >>> nearest("gpu", ["auto", "cpu", "cuda", "mps"])
    'cuda'
    """
    by_lower = {other.lower(): other for other in words}
    same = OTHER_NAMES.get(str(word).lower(), "")
    if same in by_lower:
        return by_lower[same]
    close = difflib.get_close_matches(str(word).lower(), by_lower, n=1, cutoff=0.6)
    return by_lower[close[0]] if close else None


def did_you_mean(word: object, words: Iterable[str], otherwise: str) -> str:
    """`did you mean adamw?`, or another advice where nothing is near."""
    near = nearest(word, words)
    return f"did you mean {near}?" if near else otherwise
