"""Filling in what one key takes from another: `${section.key}`."""

from __future__ import annotations

from collections.abc import Iterator
from copy import deepcopy
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lora_recipes.recipe.yamlfile import Key, dotted

if TYPE_CHECKING:
    from omegaconf import DictConfig


@dataclass(frozen=True)
class Unresolved:
    """An interpolation that cannot be filled in."""

    key: Key
    text: str
    error: Exception


def interpolate(tree: dict[str, Any], within: Key = ()) -> tuple[dict[str, Any], list[Unresolved]]:
    """A copy with every interpolation under a key filled in, as plain values.

    What cannot be resolved is left out and told. No omegaconf object leaves this module.

    Args:
        tree: all of what the interpolations may name.
        within: only what stands under this key is filled in.
    """
    values = deepcopy(tree)
    found = list(_interpolations(lookup(tree, within), within))
    if not found:
        return values, []  # as nearly always: OmegaConf alone takes longer than all the rest

    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    try:
        config = OmegaConf.create(tree)
    except OmegaConfBaseException as error:  # a `${` that is none, anywhere in the tree
        return values, [Unresolved(key, text, error) for key, text in found]
    unresolved = []
    for key, text in found:
        try:
            lookup(values, key[:-1])[key[-1]] = _select(config, key)
        except (OmegaConfBaseException, RecursionError) as error:
            unresolved.append(Unresolved(key, text, error))
            lookup(values, key[:-1])[key[-1]] = _REMOVED
    _drop_removed(values)
    return values, unresolved


def is_interpolation(text: str) -> bool:
    """Whether a text that holds `${` can be read."""
    from omegaconf.errors import GrammarParseError
    from omegaconf.grammar_parser import parse

    try:
        parse(text)
    except GrammarParseError:
        return False
    return True


def lookup(tree: Any, key: Key) -> Any:
    """The value at a key, or None where there is none."""
    for part in key:
        in_mapping = isinstance(tree, dict) and part in tree
        in_list = isinstance(tree, (list, tuple)) and isinstance(part, int) and part < len(tree)
        if not in_mapping and not in_list:
            return None
        tree = tree[part]
    return tree


_REMOVED = object()
"""Marks a value that could not be interpolated; its key then counts as not given."""


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


def _drop_removed(tree: Any) -> None:
    """Take out what was marked; a list that lost an item goes as a whole."""
    for name, value in list(tree.items()):
        if value is _REMOVED or (isinstance(value, list) and _REMOVED in value):
            del tree[name]
        elif isinstance(value, dict):
            _drop_removed(value)
