"""Laying files over one another, and filling in what one key takes from another."""

from __future__ import annotations

import re
from collections.abc import Iterator
from copy import deepcopy
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from lora_recipes.errors import Problem
from lora_recipes.recipe.fields import recipe_keys, runtime_keys
from lora_recipes.recipe.near import did_you_mean
from lora_recipes.recipe.structure import Checked
from lora_recipes.recipe.yamlfile import Key, dotted

if TYPE_CHECKING:
    from omegaconf import DictConfig

REFERENCE = re.compile(r"(?<!\\)\$\{\s*([\w.]+)\s*\}")
"""`${section.key}`, not escaped."""


@dataclass
class Merged:
    """Layers merged into one tree of plain values, which remembers where each came from."""

    values: dict[str, Any]
    """Merged, interpolated, plain: no omegaconf object leaves this module."""

    raw: dict[str, Any]
    """The same before interpolation."""

    layers: list[Checked]
    """Strongest first."""

    problems: list[Problem] = field(default_factory=list)

    bad: set[str] = field(default_factory=set)
    """Dotted keys that could not be interpolated."""

    def where(self, key: Key) -> str:
        """`file:line` of the strongest setting of a key; empty where no file sets it."""
        for layer in self.layers:
            if lookup(layer.data, _without_positions(key)) is not None:
                return layer.source.where(key)
        return ""


def merge(layers: list[Checked]) -> Merged:
    """Merge checked files, the strongest first, over the defaults of all keys.

    A mapping is merged key by key; a list replaces the list below it.
    """
    tree = _defaults()
    for layer in reversed(layers):
        _lay_over(tree, layer.data)
    return _interpolate(tree, layers, ())


def merge_runtime(params: Checked) -> Merged:
    """The `runtime` of params.yaml. It may take values from the whole file and `${oc.env:…}`."""
    return _interpolate(params.data, [params], ("runtime",))


def _lay_over(tree: dict[str, Any], stronger: dict[str, Any]) -> None:
    for name, value in stronger.items():
        if isinstance(value, dict) and isinstance(tree.get(name), dict):
            _lay_over(tree[name], value)
        else:
            tree[name] = deepcopy(value)


def _interpolate(tree: dict[str, Any], layers: list[Checked], within: Key) -> Merged:
    merged = Merged(deepcopy(tree), tree, layers)
    found = list(_interpolations(lookup(tree, within), within))
    if not found:
        return merged  # as nearly always: OmegaConf alone takes longer than all the rest

    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    config = OmegaConf.create(tree)
    for key, text in found:
        try:
            _set(merged.values, key, _select(config, key))
        except (OmegaConfBaseException, RecursionError) as error:
            merged.problems.append(_unresolved(merged, key, text, error))
            merged.bad.add(dotted(_without_positions(key)))
            _set(merged.values, key, _REMOVED)
    _drop_removed(merged.values)
    return merged


def lookup(tree: Any, key: Key) -> Any:
    """The value at a key, or None where there is none."""
    for part in key:
        in_mapping = isinstance(tree, dict) and part in tree
        in_list = isinstance(tree, (list, tuple)) and isinstance(part, int) and part < len(tree)
        if not in_mapping and not in_list:
            return None
        tree = tree[part]
    return tree


def _without_positions(key: Key) -> Key:
    return tuple(part for part in key if isinstance(part, str))


_REMOVED = object()
"""Marks a value that could not be interpolated; its key then counts as not given."""


def _defaults() -> dict[str, Any]:
    tree: dict[str, Any] = {}
    for key in recipe_keys().values():
        if not key.required:
            *sections, leaf = key.name.split(".")
            place = tree
            for section in sections:
                place = place.setdefault(section, {})
            place[leaf] = deepcopy(key.default)
    return tree


def _interpolations(tree: Any, key: Key) -> Iterator[tuple[Key, str]]:
    if isinstance(tree, dict):
        for name, value in tree.items():
            yield from _interpolations(value, (*key, name))
    elif isinstance(tree, list):
        for position, value in enumerate(tree):
            yield from _interpolations(value, (*key, position))
    elif isinstance(tree, str) and "${" in tree:
        yield key, tree


def _select(tree: DictConfig, key: Key) -> Any:
    from omegaconf import DictConfig, ListConfig, OmegaConf

    value = OmegaConf.select(tree, dotted(key), throw_on_resolution_failure=True)
    if isinstance(value, (DictConfig, ListConfig)):
        return OmegaConf.to_container(value, resolve=True)
    return value


def _set(tree: Any, key: Key, value: Any) -> None:
    for part in key[:-1]:
        tree = tree[part]
    tree[key[-1]] = value


def _drop_removed(tree: Any) -> None:
    """Take out what was marked; a list that lost an item goes as a whole."""
    for name, value in list(tree.items()):
        if value is _REMOVED or (isinstance(value, list) and _REMOVED in value):
            del tree[name]
        elif isinstance(value, dict):
            _drop_removed(value)


def _unresolved(merged: Merged, key: Key, text: str, error: Exception) -> Problem:
    match = REFERENCE.search(text)
    fix = "name a key that exists, as `lora-recipes explain` lists them"
    if "Recursi" in str(error):
        fix = "give one of the keys a value of its own; they refer to one another"
    elif "Environment variable" in str(error):
        fix = "set the variable, or give a default: ${oc.env:NAME,default}"
    elif match is not None:
        fix = did_you_mean(match.group(1), [*recipe_keys(), *runtime_keys()], fix)
    return Problem(
        where=merged.where(key),
        what=f"{dotted(key)} = {text} leads nowhere",
        allowed="${section.key} for another key's value",
        fix=fix,
    )
