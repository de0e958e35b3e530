"""Rules made of declarations: a key that belongs to another one stays at its default without it.

Otherwise a setting would be ignored without a word.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

from lora_recipes.recipe.fields import belongings, every_key, show
from lora_recipes.recipe.model import Recipe
from lora_recipes.recipe.rule import Finding, Rule
from lora_recipes.recipe.sections.section import BelongsTo, plain_value
from lora_recipes.recipe.values import value_of


def rules() -> tuple[Rule, ...]:
    """A rule for each key, or sub-section of keys, that is declared to belong to another key."""
    return tuple(_rule(name, owner) for name, owner in belongings().items())


def condition(owner: BelongsTo) -> str:
    """`unless train.scheduler is polynomial`, `while base.vae is base`."""
    if owner.but:
        return f"while {owner.key} is {_either(owner.but)}"
    return f"unless {' or '.join(f'{key} is {value}' for key, value in _needed(owner))}"


def _needed(owner: BelongsTo) -> Iterator[tuple[str, str]]:
    """Each key that will do, and the values at which it does, in words."""
    above = f"above {owner.above:g}" if owner.above is not None else _either(owner.values)
    yield owner.key, above
    if owner.or_else is not None:
        yield from _needed(owner.or_else)


def _rule(name: str, owner: BelongsTo) -> Rule:
    keys = [key for key in every_key().values() if f"{key.name}.".startswith(f"{name}.")]
    what = f"`{name}`" if name in every_key() else f"Each key of `{name}`"
    if owner.position is not None:
        what = f"Item {owner.position} of {what} (the first is 0)"

    owners = [key for key, _ in _needed(owner)]

    def check(recipe: Recipe, root: Path) -> Iterator[Finding]:
        for key in keys:
            given, default = _plain(recipe, key.name), key.default
            if owner.position is not None:
                given, default = given[owner.position], default[owner.position]
            # What the sub-section lacks is told before what the key itself lacks.
            unmet = (it for it in key.belongs_to if not it.met_in(partial(_plain, recipe)))
            if given != default and next(unmet, None) == owner:
                yield _finding(owner, key.name, default, _plain(recipe, owner.key))

    return Rule(
        id=f"{_leaf(name)}-belongs-to-{_leaf(owner.key)}".replace("_", "-"),
        text=f"{what} stays at its default {_marked(owner)}: another value would be ignored.",
        keys=(name, *owners),
        level="error",
        moment="recipe",
        check=check,
    )


def _finding(owner: BelongsTo, key: str, default: Any, beside: Any) -> Finding:
    shown = show(default) if default != "" else "empty"
    back = f"remove {key}" if owner.position is None else f"write {shown} there"
    return Finding(
        key,
        f"{shown}, the default, {condition(owner)}",
        f"{_mend(owner)}, or {back}",
        f" beside {owner.key} = {show(beside)}",
        position=owner.position,
    )


def _marked(owner: BelongsTo) -> str:
    text = condition(owner)
    for key, _ in _needed(owner):
        text = text.replace(key, f"`{key}`")
    return text


def _mend(owner: BelongsTo) -> str:
    """What to do with the other key."""
    if owner.fix:
        return owner.fix
    if owner.values:
        return f"write `{_leaf(owner.key)}: {show(owner.values[0])}`"
    return f"raise {owner.key}" if owner.above is not None else f"change {owner.key}"


def _either(values: tuple[Any, ...]) -> str:
    return " or ".join(map(show, values))


def _leaf(name: str) -> str:
    return name.rpartition(".")[2]


def _plain(recipe: Recipe, name: str) -> Any:
    return plain_value(value_of(recipe, name))
