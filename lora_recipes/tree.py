"""Nested mappings and lists: their values by key, as `train.learning_rate`, and their bounds."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any


class SaidTwice(Exception):
    """A key that an object of JSON has twice."""


def flat(value: Any, key: str = "") -> dict[str, Any]:
    """A tree's leaves by dotted key; a list is a leaf.

    Args:
        value: the tree; what is no mapping is a leaf itself, under `key`.
        key: of the tree's root.
    """
    if not isinstance(value, Mapping):
        return {key: value}
    leaves: dict[str, Any] = {}
    for name, item in value.items():
        leaves |= flat(item, f"{key}.{name}" if key else str(name))
    return leaves


def lookup(tree: Any, key: Sequence[str | int]) -> Any:
    """The value at a key, names of mappings and positions in lists; None where there is none."""
    for part in key:
        in_mapping = isinstance(tree, Mapping) and part in tree
        in_list = isinstance(tree, (list, tuple)) and isinstance(part, int) and part < len(tree)
        if not in_mapping and not in_list:
            return None
        tree = tree[part]
    return tree


def once(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    """An object of JSON in which each key stands once: json's `object_pairs_hook`.

    Raises:
        SaidTwice: one stands there twice, and programs differ in which of the two counts.
    """
    found = dict(pairs)
    if len(found) < len(pairs):
        counts = Counter(key for key, _ in pairs)
        raise SaidTwice(counts.most_common(1)[0][0])
    return found


def is_deeper(value: Any, most: int) -> bool:
    """Whether more than so many lists and mappings stand inside one another."""
    level = [value]
    for _ in range(most + 1):
        level = [one for one in level if isinstance(one, (dict, list))]
        if not level:
            return False
        level = [item for one in level for item in (one.values() if isinstance(one, dict) else one)]
    return True
