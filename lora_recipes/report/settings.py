"""The resolved recipe as tables, section by section."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lora_recipes.hashing import canonical_json
from lora_recipes.tree import flat

SECTIONS = ("base", "dataset", "prepare", "encode", "lora", "train", "sample", "compute")

OFF = "off"
"""Shown of a key that params.yaml switched off: resolved.yaml leaves it out."""


def sections(resolved: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Each section's settings by dotted key."""
    found = {name: flat(resolved[name]) for name in SECTIONS if name in resolved}
    for key in resolved["overridden"]:
        name, _, inner = key.partition(".")
        found[name].setdefault(inner, OFF)
    return found


def spell(value: Any) -> str:
    """A value as it is written in YAML, near enough: true, 1e-4, [1024, 1024]."""
    if isinstance(value, str):
        return value
    if isinstance(value, float):
        return f"{value:g}"
    return canonical_json(value)
