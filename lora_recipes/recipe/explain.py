"""What the command `explain` says of a key, a section, or everything."""

from __future__ import annotations

import textwrap
from itertools import groupby

from lora_recipes.command import as_called
from lora_recipes.errors import UserError
from lora_recipes.recipe.fields import Key, recipe_keys, runtime_keys, section_texts, show
from lora_recipes.recipe.near import OTHER_NAMES, did_you_mean
from lora_recipes.recipe.rule import Rule
from lora_recipes.recipe.rules import RULES

WIDTH = 96


def explain(name: str | None = None) -> str:
    """A text about one key, all keys of a section, or all keys.

    Args:
        name: `lora.rank`, `lora`, or None for everything.

    Raises:
        UserError: there is no such key.
    """
    keys = recipe_keys() | runtime_keys()
    if name is not None and name not in keys and name not in section_texts():
        word = name.rpartition(".")[2]
        ours = OTHER_NAMES.get(word.lower(), name)
        leaves = [key for key in keys if key.rpartition(".")[2] == ours]
        near = did_you_mean(
            name, [*keys, *section_texts()], f"`{as_called('explain')}` lists all keys"
        )
        raise UserError.of(
            what=f"{name} is not a key",
            allowed="a dotted key, such as lora.rank, or a section, such as lora",
            fix=f"did you mean {' or '.join(leaves)}?" if leaves else near,
        )
    chosen = [key for key in keys if name is None or key == name or key.startswith(f"{name}.")]
    texts = []
    for section, inside in groupby(chosen, lambda key: key.rpartition(".")[0]):
        if section and name not in keys:
            texts.append(f"{section}: {section_texts()[section]}")
        texts += [_about(keys[key]) for key in inside]
    return "\n\n".join(texts)


def facts(key: Key) -> list[tuple[str, str]]:
    """The short facts about a key, each with its name."""
    found = [("default", "none: it has to be given" if key.required else show(key.default))]
    found.append(("allowed", key.allowed))
    if key.advised is not None:
        found.append(("advised", str(key.advised)))
    if key.off is not None:
        found.append(("off", show(key.off.value)))
    if key.header:
        found.append(("header", ", ".join(key.header)))
    return found


def rules_about(key: Key) -> list[Rule]:
    """The rules that touch a key."""
    return [rule for rule in RULES if rule.touches(key.name)]


def paragraphs(text: str) -> tuple[list[str], list[str]]:
    """A key's documentation, unwrapped: what it means, and the labelled lines that say more."""
    meaning, labelled = [""], list[str]()
    for line in text.split("\n"):
        if line.startswith(("Higher", "Lower", "With:", "Source:")):
            labelled.append(line)
        elif labelled:
            labelled[-1] += f" {line}"
        elif not line:
            meaning.append("")
        else:
            meaning[-1] = f"{meaning[-1]} {line}".strip()
    return [paragraph for paragraph in meaning if paragraph], labelled


def _about(key: Key) -> str:
    meaning, labelled = paragraphs(key.text)
    lines = [key.name]
    for line in meaning + labelled:
        lines += _wrapped(line)
    lines += [f"  {name}: {fact}" for name, fact in facts(key)]
    for rule in rules_about(key):
        lines += _wrapped(f"rule {rule.id}: {rule.text}", "    ")
    return "\n".join(lines)


def _wrapped(text: str, hanging: str = "  ") -> list[str]:
    return textwrap.wrap(
        text, WIDTH, initial_indent="  ", subsequent_indent=hanging, break_on_hyphens=False
    )
