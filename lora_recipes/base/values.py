"""What a value of a model's configuration may be: kinds that tell, and that say so in words.

A configuration comes from a stranger. Nothing of it reaches a library before one of these has
admitted it: no text where a number is asked for, no number that asks for all memory.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Protocol

from lora_recipes.errors import Problem, Wording

SHOWN = 60
"""Letters of a value that a message shows."""


class Kind(Protocol):
    """A set of values."""

    def admits(self, value: Any) -> bool:
        """Whether a value is one of them."""
        ...

    def __str__(self) -> Wording:
        """What they are, in words: `allowed: …`."""
        ...


@dataclass(frozen=True)
class Whole:
    """Whole numbers; `true` and `2.0` are none."""

    low: int
    high: int

    def admits(self, value: Any) -> bool:
        """Whether it is one of them."""
        return type(value) is int and self.low <= value <= self.high

    def __str__(self) -> Wording:
        return f"a whole number, {self.low:,} to {self.high:,}"


@dataclass(frozen=True)
class Number:
    """Finite numbers in a range, its ends included."""

    low: float
    high: float

    def admits(self, value: Any) -> bool:
        """Whether it is one of them; NaN is not, since it compares with nothing."""
        return type(value) in (int, float) and self.low <= value <= self.high

    def __str__(self) -> Wording:
        return f"a number, {self.low:g} to {self.high:g}"


@dataclass(frozen=True)
class One:
    """One of some values; `1`, `1.0` and `true` are three different ones."""

    of: tuple[Any, ...]

    def admits(self, value: Any) -> bool:
        """Whether it is one of them."""
        return any(type(value) is type(known) and value == known for known in self.of)

    def __str__(self) -> Wording:
        *rest, last = [shown(value) for value in dict.fromkeys(self.of)]
        return f"{', '.join(rest)} or {last}" if rest else last


@dataclass(frozen=True)
class Each:
    """Lists whose items are all of one kind."""

    item: Kind
    length: int

    def admits(self, value: Any) -> bool:
        """Whether it is such a list."""
        return (
            isinstance(value, list)
            and len(value) == self.length
            and all(map(self.item.admits, value))
        )

    def __str__(self) -> Wording:
        return f"a list of {self.length}, each {self.item}"


@dataclass(frozen=True)
class Either:
    """Values of one kind or another."""

    kinds: tuple[Kind, ...]

    def admits(self, value: Any) -> bool:
        """Whether one of them admits it."""
        return any(kind.admits(value) for kind in self.kinds)

    def __str__(self) -> Wording:
        return ", or ".join(map(str, self.kinds))


@dataclass(frozen=True)
class Anything:
    """Values that reach nobody: the key is known to be without meaning here, and is left out."""

    def admits(self, value: Any) -> bool:
        """Always."""
        return True

    def __str__(self) -> Wording:
        return "anything"


NOTHING = One((None,))
FLAG = One((True, False))
MAYBE = One((None, True, False))
OFF = One((None, False))


def optional(kind: Kind) -> Either:
    """A kind, or null."""
    return Either((kind, NOTHING))


def shown(value: Any, most: int = SHOWN) -> Wording:
    """A value as a message shows it: as JSON has it, in ASCII, and cut after `most` letters."""
    try:
        text = json.dumps(value)
    except (TypeError, ValueError, RecursionError):
        text = f"a {type(value).__name__}"
    return text if len(text) <= most else f"{text[:most]}…"


def named(text: Any) -> Wording:
    """A key or a name as a message shows it: a text without its quotes."""
    return shown(text).strip('"')


def mismatch(where: str, key: str, value: object, allowed: str) -> Problem:
    """A key of a configuration with a value that does not go with what else is there."""
    return Problem(
        where=where,
        what=f"{key} = {shown(value)}",
        allowed=allowed,
        fix="fetch the model again, or choose another base.model",
    )
