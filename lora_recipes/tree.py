"""Nested mappings by dotted key, as `train.learning_rate` names a value of a recipe."""

from __future__ import annotations

from collections.abc import Mapping
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
