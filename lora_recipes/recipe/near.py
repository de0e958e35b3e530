"""Finding what was probably meant."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def nearest(word: object, words: Iterable[str]) -> str | None:
    """The one of `words` that looks most like `word`, if any does.

    >>> nearest("adamW", ["adafactor", "adamw"])
    'adamw'
    """
    by_lower = {other.lower(): other for other in words}
    close = difflib.get_close_matches(str(word).lower(), by_lower, n=1, cutoff=0.6)
    return by_lower[close[0]] if close else None


def did_you_mean(word: object, words: Iterable[str], otherwise: str) -> str:
    """`did you mean adamw?`, or another advice where nothing is near."""
    near = nearest(word, words)
    return f"did you mean {near}?" if near else otherwise
