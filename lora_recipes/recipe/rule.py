"""What a rule between keys is."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from lora_recipes.recipe.model import Recipe

Level = Literal["error", "warning"]
Moment = Literal["recipe", "run"]


@dataclass(frozen=True)
class Finding:
    """A rule that a recipe breaks, at one key."""

    key: str
    """The key that is reported, with its value and place."""

    allowed: str
    fix: str

    beside: str = ""
    """What stands against it: ` beside train.optimizer = adamw`."""

    cause: str = ""
    """The key to point at where the reported one is at its default."""

    position: int | None = None
    """The item, where the key holds a list."""


Check = Callable[[Recipe, Path], Iterator[Finding]]


@dataclass(frozen=True)
class Rule:
    """Something that has to hold between keys, beyond what each key allows."""

    id: str
    text: str
    """The rule in words: its function's docstring."""

    keys: tuple[str, ...]
    """The keys that it is about; `train.adamw` stands for all keys under it."""

    level: Level
    moment: Moment
    """`recipe`: holds for a recipe by itself. `run`: only once params.yaml has been laid over it,
    because a recipe may leave it to its user."""

    check: Check

    def touches(self, key: str) -> bool:
        """Whether the rule is about a key, or about one under it."""
        return any(
            key == own or key.startswith(own + ".") or own.startswith(key + ".")
            for own in self.keys
        )


def rule(*keys: str, level: Level = "error", moment: Moment = "recipe") -> Callable[[Check], Rule]:
    """Make a rule of a function. Its id is the function's name, its text the docstring."""

    def make(check: Check) -> Rule:
        assert check.__doc__, "a rule's docstring is its text"
        text = " ".join(check.__doc__.split())
        return Rule(check.__name__.replace("_", "-"), text, keys, level, moment, check)

    return make
