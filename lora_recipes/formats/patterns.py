"""peft's `alpha_pattern` and `rank_pattern`: the values that some modules have of their own.

Each entry is a regular expression for the end of a module's path; the first that fits counts.

Source: huggingface/peft, utils/other.py (`get_pattern_key`).
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

_NAME = re.compile(r"(\^?)([\w.\-]+)\$?")
_GLOB = re.compile(r"(\^?)([\w.\-*]+)\$?")
_CHOICE = re.compile(r"\(([\w.\-*|]+)\)")

MOST_GLOBS = 100
"""Patterns with `.*` or `(a|b)` in one list. Whole regular expressions, which peft takes, are not
tried: a stranger's could run for ever."""

MOST_STARS = 8
"""`.*` in one pattern."""

MOST_DOTS = 32
"""In a name of a pattern."""


@dataclass(frozen=True)
class Glob:
    """A pattern with `.*` in it: the pieces between, in order."""

    pieces: tuple[str, ...]
    anchored: bool
    """Whether it has to begin where the path begins, not behind any dot."""

    def fits(self, path: str) -> bool:
        """Whether the path, or an end of it that begins behind a dot, is like this."""
        first, *others = self.pieces
        if not others:
            return path == first or (not self.anchored and path.endswith(f".{first}"))
        if path.startswith(first):
            place = len(first)
        elif not self.anchored and (found := path.find(f".{first}")) >= 0:
            place = found + 1 + len(first)
        else:
            return False
        for piece in others[:-1]:
            if (found := path.find(piece, place)) < 0:
                return False
            place = found + len(piece)
        return path.endswith(others[-1]) and place <= len(path) - len(others[-1])


@dataclass(frozen=True)
class Pattern:
    """Values of some modules, by the end of their names."""

    names: Mapping[str, tuple[int, float]] = field(default_factory=dict)
    """Place in the list and value by name, `^` before a name that is whole."""

    globs: tuple[tuple[int, Glob, float], ...] = ()

    def of(self, path: str) -> float | None:
        """The value of the first entry that a module's path ends in, as peft looks for it."""
        found = [self.names[end] for end in _ends(path) if end in self.names] if self.names else []
        found += [(place, value) for place, glob, value in self.globs if glob.fits(path)]
        return min(found)[1] if found else None


def read_pattern(values: Mapping[str, Any], key: str, source: str, trouble: list[str]) -> Pattern:
    """One of the two lists of a configuration.

    Args:
        values: the configuration.
        key: the list's name.
        source: where the configuration stands, for what is told.
        trouble: entries that cannot be used are told here.
    """
    entries = values.get(key)
    names: dict[str, tuple[int, float]] = {}
    globs: list[tuple[int, Glob, float]] = []
    for place, (name, value) in enumerate(entries.items() if isinstance(entries, dict) else ()):
        ways = _globs(name.replace(r"\.", "."))
        if not is_number(value) or (key == "rank_pattern" and value < 1):
            trouble.append(f"{source}: {key} of {name} is not a number that can be used")
        elif found := _NAME.fullmatch(name.replace(r"\.", ".")):
            names.setdefault(found[1] + found[2], (place, float(value)))
        elif ways and len(globs) + len(ways) <= MOST_GLOBS:
            globs += [(place, glob, float(value)) for glob in ways]
        else:
            trouble.append(f"{source}: {key} of {name} cannot be matched here")
    return Pattern(names, tuple(globs))


def _globs(name: str) -> list[Glob]:
    """The globs that a regular expression of names, `.*` and `(a|b)` stands for; else none."""
    ways = [name]
    while choice := _CHOICE.search(ways[0]):
        ways = [
            way.replace(choice[0], option, 1) for way in ways for option in choice[1].split("|")
        ]
        if len(ways) > MOST_GLOBS:
            return []
    found = [_GLOB.fullmatch(way) for way in ways]
    if not all(one and "*" not in one[2].replace(".*", "") for one in found):
        return []
    if name.count(".*") > MOST_STARS:
        return []
    return [Glob(tuple(one[2].split(".*")), one[1] == "^") for one in found if one]


def _ends(path: str) -> Iterator[str]:
    """A path, and its ends that begin behind a dot; `^` before the whole one too."""
    yield path
    yield f"^{path}"
    place = len(path)
    for _ in range(MOST_DOTS):
        place = path.rfind(".", 0, place)
        if place < 0:
            return
        yield path[place + 1 :]


def is_number(value: Any) -> bool:
    """Whether a value of JSON is a finite number."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return False
    try:
        return math.isfinite(float(value))
    except OverflowError:
        return False
