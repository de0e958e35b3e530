"""Recipes as any release wrote them, into headers and resolved.yaml, so that they compare.

Releases before `Off` wrote every key out; later ones leave out what is not there
(`recipe/identity.py`), and know keys that earlier ones did not.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any

from lora_recipes.recipe.fields import overridable_keys
from lora_recipes.recipe.identity import is_off
from lora_recipes.recipe.sections.section import BelongsTo, Off, plain_value

Leaves = Mapping[str, Any]
"""Plain values by dotted key: `train.learning_rate`."""

RENAMED = {"dataset.others": "dataset.control"}
"""Keys of earlier releases that have another name now."""


def said(leaves: Leaves) -> dict[str, Any]:
    """What counts of a recipe, as this release sees it. Keys that it does not know are kept."""
    off, owners = _declared()
    leaves = {RENAMED.get(key, key): value for key, value in leaves.items()}
    return {
        key: value
        for key, value in leaves.items()
        if _is_chosen(owners.get(key, ()), leaves) and not (key in off and is_off(value, off[key]))
    }


def comparable(leaves: Leaves) -> dict[str, Any]:
    """What counts, with the `Off` value of each key that is not there.

    Only in the sections that the leaves speak of.
    """
    off, owners = _declared()
    sections = {key.partition(".")[0] for key in leaves}
    counts = said(leaves)
    return counts | {
        key: plain_value(frozen.value)
        for key, frozen in off.items()
        if key.partition(".")[0] in sections and _is_chosen(owners[key], leaves)
        if key not in counts
    }


def nested(leaves: Leaves) -> dict[str, Any]:
    """Leaves by dotted key as the tree that they come from."""
    tree: dict[str, Any] = {}
    for key, value in leaves.items():
        *sections, last = key.split(".")
        place = tree
        for section in sections:
            place = place.setdefault(section, {})
        place[last] = value
    return tree


def _is_chosen(owners: tuple[BelongsTo, ...], leaves: Leaves) -> bool:
    off, _ = _declared()

    def value_of(key: str) -> Any:
        return leaves.get(key, plain_value(off[key].value) if key in off else None)

    return all(owner.position is not None or owner.met_in(value_of) for owner in owners)


@functools.cache
def _declared() -> tuple[dict[str, Off], dict[str, tuple[BelongsTo, ...]]]:
    """The `Off` of each key that has one, and what each key as a whole belongs to."""
    keys = overridable_keys()
    off = {name: key.off for name, key in keys.items() if key.off is not None}
    owners = {
        name: tuple(owner for owner in key.belongs_to if owner.position is None)
        for name, key in keys.items()
    }
    return off, owners
