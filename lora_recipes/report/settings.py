"""The resolved recipe as tables, section by section."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lora_recipes.hashing import canonical_json
from lora_recipes.recipe.dump import dump
from lora_recipes.report.usage import on_hub
from lora_recipes.tree import flat

NO_SETTINGS = ("overridden", "code", "packages")
"""Mappings of resolved.yaml that are no section of the recipe."""

OFF = "off"
"""Shown of a key that params.yaml switched off: resolved.yaml leaves it out."""


def sections(resolved: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Each section's settings by dotted key, those first that are not the recipe's own.

    A commit of Hugging Face counts for nothing beside a base model from elsewhere, and is left out.
    """
    found = {
        name: flat(values)
        for name, values in resolved.items()
        if isinstance(values, Mapping) and values and name not in NO_SETTINGS
    }
    for key in resolved["overridden"]:
        name, _, inner = key.partition(".")
        found.setdefault(name, {}).setdefault(inner, OFF)
    if not on_hub(resolved["base"]):
        found["base"].pop("revision", None)

    def is_own(name: str, key: str) -> bool:
        return f"{name}.{key}" not in resolved["overridden"]

    sorted_rows = {
        name: dict(sorted(rows.items(), key=lambda row: is_own(name, row[0])))
        for name, rows in found.items()
    }
    return dict(
        sorted(sorted_rows.items(), key=lambda one: all(is_own(one[0], key) for key in one[1]))
    )


def as_yaml(resolved: Mapping[str, Any]) -> str:
    """The recipe's sections as YAML, to copy."""
    return dump(
        {
            name: values
            for name, values in resolved.items()
            if isinstance(values, Mapping) and values and name not in NO_SETTINGS
        }
    )


def spell(value: Any) -> str:
    """A value as it is written in YAML, near enough: true, 1e-4, [1024, 1024]."""
    if isinstance(value, str):
        return value
    if isinstance(value, float):
        return f"{value:g}"
    return canonical_json(value)
