"""Nested mappings, and their values by key: `train.learning_rate` of a recipe."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any


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
