"""Filling in what one key takes from another: `${section.key}`."""

from __future__ import annotations

import re
from collections.abc import Iterator
from copy import deepcopy
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lora_recipes.recipe.yamlfile import Key, dotted
from lora_recipes.tree import lookup

if TYPE_CHECKING:
    from omegaconf import DictConfig


_DOTTED = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*")


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
        config = OmegaConf.create(_without_the_unreachable(tree))
    except OmegaConfBaseException as error:  # a `${` that is none, anywhere in the tree
        return values, [Unresolved(key, text, error) for key, text in found]
    unresolved = []
    for key, text in found:
        try:
            if reason := unreachable(text, key):
                raise OmegaConfBaseException(reason)
            lookup(values, key[:-1])[key[-1]] = _select(config, key)
        except (OmegaConfBaseException, RecursionError) as error:
            unresolved.append(Unresolved(key, text, error))
            lookup(values, key[:-1])[key[-1]] = _REMOVED
    _drop_removed(values)
    return values, unresolved


def unreachable(text: str, key: Key) -> str:
    """Why a text's interpolations are refused at a key; empty where they are not.

    `${section.key}` can be reached and nothing else: a stranger's recipe must not read this
    machine. Under `runtime`, which changes no byte, `${oc.env:NAME}` can be too, with a default,
    and `${oc.decode:…}` of it. The parsed text is asked: a pattern could be got round.
    """
    from omegaconf.errors import GrammarParseError
    from omegaconf.grammar_parser import parse

    if text.count("${") > MOST_IN_A_TEXT or len(text) > LONGEST_TEXT:
        return LIMITS
    try:
        tree = parse(text)
    except (GrammarParseError, RecursionError):
        return UNREADABLE
    allowed = _allowed_in_runtime if key[:1] == ("runtime",) else _is_reference
    return "" if all(map(allowed, _outermost(tree))) else OUT_OF_REACH


UNREADABLE = "unreadable"
OUT_OF_REACH = "out of reach"
LIMITS = "too long"
MOST_IN_A_TEXT = 20
LONGEST_TEXT = 4096
"""Letters of a text with interpolations, whose grammar takes long to read."""


def _outermost(node: Any) -> Iterator[Any]:
    """The interpolations of a parsed text that stand in no other one."""
    for child in getattr(node, "children", None) or ():
        if type(child).__name__ == "InterpolationContext":
            yield child
        else:
            yield from _outermost(child)


def _is_reference(interpolation: Any) -> bool:
    """Whether it is `${section.key}`: names and points, neither relative nor made of others."""
    names = interpolation.getText()[2:-1].strip()
    node = type(interpolation.children[0]).__name__ == "InterpolationNodeContext"
    return node and not any(_outermost(interpolation)) and bool(_DOTTED.fullmatch(names))


def _allowed_in_runtime(interpolation: Any) -> bool:
    if _is_reference(interpolation):
        return True
    inner = list(_outermost(interpolation))
    name, arguments = _call(interpolation)
    if name == "oc.env":
        return not inner
    whole = len(inner) == 1 and inner[0].getText() == arguments
    return (
        name == "oc.decode"
        and whole
        and _call(inner[0])[0] == "oc.env"
        and not any(_outermost(inner[0]))
    )


def _call(interpolation: Any) -> tuple[str, str]:
    """The resolver's name and its arguments as they are written; nothing for a reference."""
    parts = {type(part).__name__: part for part in interpolation.children[0].children}
    found = (parts.get("ResolverNameContext"), parts.get("SequenceContext"))
    name, arguments = (part.getText() if part is not None else "" for part in found)
    return name, arguments


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


def _without_the_unreachable(tree: dict[str, Any]) -> dict[str, Any]:
    """So that nothing out of reach is reached through a key that may be named."""
    tree = deepcopy(tree)
    for key, text in list(_interpolations(tree, ())):
        if unreachable(text, key):
            lookup(tree, key[:-1])[key[-1]] = None
    return tree


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
