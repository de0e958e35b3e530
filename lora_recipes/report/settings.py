"""The resolved recipe, and the hashes by which everything can be found again."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lora_recipes.hashing import canonical_json
from lora_recipes.report.figures import size
from lora_recipes.report.html import Child, Html, said, tag
from lora_recipes.report.inputs import Inputs
from lora_recipes.report.parts import block, code, facts, lead, section
from lora_recipes.text import counted
from lora_recipes.tree import flat

SECTIONS = ("base", "dataset", "prepare", "encode", "lora", "train", "sample", "compute")


def settings(inputs: Inputs) -> Html:
    """Every setting, section by section; what params.yaml changed stands out."""
    overridden = inputs.resolved["overridden"]
    count = len(overridden)
    change = counted(count, "value is", "values are")
    return section(
        "recipe",
        "Recipe",
        lead(
            f"{change} not the recipe's own but set in params.yaml, and marked."
            if count
            else "Every value is the recipe's own."
        ),
        tag(
            "div",
            [
                _table(name, inputs.resolved[name], overridden)
                for name in SECTIONS
                if name in inputs.resolved
            ],
            class_="settings",
        ),
    )


def identity(inputs: Inputs) -> Html:
    """Hashes of what went in and of what came out, and the machine behind them."""
    resolved, metadata = inputs.resolved, inputs.adapter.metadata
    rows: list[tuple[str, Child]] = [
        ("Adapter", [code(inputs.adapter.sha256), f" ({size(inputs.adapter.size)})"]),
        ("Recipe and data", code(metadata.get("lora_recipes.hash", "not in the file"))),
        ("Data", code(inputs.manifest_hash)),
        ("Base model", code(resolved["base_identity"])),
    ]
    around = dict(inputs.train.get("environment", {}))
    return section(
        "identity",
        "Identity",
        lead(
            "The same commit on the same package builds, device model and thread count gives "
            "this adapter again, byte for byte. To see that, or to find a file's commit:"
        ),
        block("lora-recipes verify HEAD\nlora-recipes trace out/adapter.safetensors"),
        facts(rows),
        _more("Code of each stage", resolved.get("code", {})),
        _more("Packages in the lock", resolved.get("packages", {})),
        _more("Trained on", around),
    )


def spell(value: Any) -> str:
    """A value as it is written in YAML, near enough: true, 1e-4, [1024, 1024]."""
    if isinstance(value, str):
        return value
    if isinstance(value, float):
        return f"{value:g}"
    return canonical_json(value)


def _table(name: str, values: Mapping[str, Any], overridden: Mapping[str, Any]) -> Html:
    return tag(
        "table",
        tag("caption", name),
        tag(
            "tbody",
            [_row(key, value, f"{name}.{key}", overridden) for key, value in flat(values).items()],
        ),
    )


def _row(key: str, value: Any, dotted: str, overridden: Mapping[str, Any]) -> Html:
    before: Child = ""
    if dotted in overridden:
        before = tag("small", "recipe: ", _value(overridden[dotted]))
    return tag(
        "tr",
        tag("th", key, scope="row"),
        tag("td", _value(value), before),
        class_="overridden" if before else None,
    )


def _value(value: Any) -> Html:
    if isinstance(value, list | tuple) and any(isinstance(item, str) for item in value):
        return tag("ul", [tag("li", said(spell(item))) for item in value])
    text = spell(value)
    return said(text) if text else tag("em", "empty")


def _more(title: str, values: Mapping[str, Any]) -> Html | str:
    if not values:
        return ""
    rows = [(name, code(spell(value))) for name, value in sorted(flat(values).items())]
    return tag("details", tag("summary", title), facts(rows))
