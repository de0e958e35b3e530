"""The resolved recipe as tables, section by section."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lora_recipes.hashing import canonical_json
from lora_recipes.tree import flat

NO_SETTINGS = ("overridden", "code", "packages")
"""Mappings of resolved.yaml that are no section of the recipe."""

OFF = "off"
"""Shown of a key that params.yaml switched off: resolved.yaml leaves it out."""


def sections(resolved: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Each section's settings by dotted key."""
    found = {
        name: flat(values)
        for name, values in resolved.items()
        if isinstance(values, Mapping) and name not in NO_SETTINGS
    }
    for key in resolved["overridden"]:
        name, _, inner = key.partition(".")
        found.setdefault(name, {}).setdefault(inner, OFF)
    return found


def spell(value: Any) -> str:
    """A value as it is written in YAML, near enough: true, 1e-4, [1024, 1024]."""
    if isinstance(value, str):
        return value
    if isinstance(value, float):
        return f"{value:g}"
    return canonical_json(value)
