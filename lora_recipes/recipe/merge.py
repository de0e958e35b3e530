"""Laying files over one another, and filling in what one key takes from another."""

from __future__ import annotations

import re
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

from lora_recipes.command import as_called
from lora_recipes.errors import Place, Problem
from lora_recipes.recipe.fields import every_key, recipe_keys, show
from lora_recipes.recipe.interpolate import Unresolved, interpolate
from lora_recipes.recipe.near import did_you_mean
from lora_recipes.recipe.releases import nested
from lora_recipes.recipe.structure import Checked
from lora_recipes.recipe.yamlfile import Key, dotted, dotted_in_line, names_only
from lora_recipes.tree import lookup

REFERENCE = re.compile(r"(?<!\\)\$\{\s*([\w.]+)\s*\}")
"""`${section.key}`, not escaped."""


@dataclass(frozen=True)
class Merged:
    """Layers merged into one tree of plain values, which remembers where each came from."""

    values: dict[str, Any]
    """Merged and interpolated."""

    raw: dict[str, Any]
    """The same before interpolation, with numbers such as 007 as they were written."""

    layers: list[Checked]
    """Strongest first."""

    unresolved: list[Unresolved]

    def where(self, key: Key) -> Place | None:
        """The place of the strongest setting of a key; None where no file sets it."""
        *sections, leaf = names_only(key)
        for layer in self.layers:
            if leaf in (lookup(layer.data, tuple(sections)) or ()):
                return layer.source.where(key)
        return None

    def problems(self) -> list[Problem]:
        """What could not be interpolated."""
        return [_problem(it, self.where(it.key)) for it in self.unresolved]

    def bad(self) -> set[str]:
        """The dotted keys that could not be interpolated."""
        return {dotted(names_only(it.key)) for it in self.unresolved}


def merge(layers: list[Checked]) -> Merged:
    """Merge checked files, the strongest first, over the defaults of all keys.

    A mapping is merged key by key; a list replaces the list below it.
    """
    tree = _defaults()
    for layer in reversed(layers):
        _lay_over(tree, layer.data)
    values, unresolved = interpolate(tree)
    for layer in layers:
        for (*sections, leaf), text in layer.source.written.items():
            around = lookup(tree, tuple(sections))
            if lookup(tree, (*sections, leaf)) == int(text):
                around[leaf] = text
    return Merged(values, tree, layers, unresolved)


def merge_runtime(params: Checked) -> Merged:
    """params.yaml's own part. Only `runtime` is interpolated, from the whole file and `oc.env`."""
    values, unresolved = interpolate(params.data, ("runtime",))
    return Merged(values, params.data, [params], unresolved)


def _lay_over(tree: dict[str, Any], stronger: dict[str, Any]) -> None:
    for name, value in stronger.items():
        if isinstance(value, dict) and isinstance(tree.get(name), dict):
            _lay_over(tree[name], value)
        else:
            tree[name] = deepcopy(value)


def _defaults() -> dict[str, Any]:
    keys = recipe_keys().values()
    return nested({key.name: deepcopy(key.default) for key in keys if not key.required})


def _problem(unresolved: Unresolved, where: Place | None) -> Problem:
    match = REFERENCE.search(unresolved.text)
    error = str(unresolved.error)
    fix = f"name a key that exists, as `{as_called('explain')}` lists them"
    if "Recursi" in error:
        fix = "give one of the keys a value of its own; they refer to one another"
    elif "Environment variable" in error:
        fix = "set the variable, or give a default: ${oc.env:NAME,default}"
    elif match is not None:
        fix = did_you_mean(match.group(1), every_key(), fix)
    return Problem(
        where=where or "",
        what=f"{dotted_in_line(unresolved.key)} = {show(unresolved.text)} cannot be resolved",
        allowed="${section.key} for another key's value",
        fix=fix,
    )
