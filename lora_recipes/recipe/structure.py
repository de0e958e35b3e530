"""What is looked at in a file before its values have types, and before files are merged.

pydantic cannot see these: a null (params.yaml: "the recipe's own"; a recipe: no value), one value
where a section belongs, `???`, and what no interpolation can be.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from lora_recipes.errors import Problem
from lora_recipes.printable import printable
from lora_recipes.recipe.fields import Key as Known
from lora_recipes.recipe.fields import keys_under, overridable_keys, params_keys, recipe_keys, show
from lora_recipes.recipe.interpolate import (
    LIMITS,
    LONGEST_TEXT,
    MOST_IN_A_TEXT,
    UNREADABLE,
    unreachable,
)
from lora_recipes.recipe.model import HEAD
from lora_recipes.recipe.yaml_hints import spaced
from lora_recipes.recipe.yamlfile import Key, Source, describe, dotted, dotted_in_line

_FILE_NAME = re.compile(r"[a-z0-9][a-z0-9._-]*")
_OF_THIS_MACHINE = re.compile(r"\$\{[^}]*\b(oc\.env|runtime\.)")


@dataclass
class Checked:
    """A file without what was reported of it. The values of unknown keys are None."""

    source: Source
    data: dict[str, Any]
    problems: list[Problem] = field(default_factory=list)

    bad: set[str] = field(default_factory=set)
    """Dotted keys that were left out."""


def check_recipe(source: Source, name: str) -> Checked:
    """Look through a recipe, whose head has to be whole."""
    checked = _checked(source, recipe_keys(), nulls=False)
    checked.problems.extend(_head_problems(source, name))
    if not _FILE_NAME.fullmatch(name):
        checked.data.pop("name", None)  # told once, of the file
    return checked


def check_params(source: Source) -> Checked:
    """Look through params.yaml. There null means "the recipe's own", so nulls are dropped."""
    return _checked(source, params_keys() | overridable_keys(), nulls=True)


def _checked(source: Source, keys: dict[str, Known], *, nulls: bool) -> Checked:
    checked = Checked(source, {})

    def kept(values: dict[str, Any], within: Key) -> dict[str, Any]:
        out: dict[str, Any] = {}
        for name, value in values.items():
            key = (*within, name)
            children = keys_under(dotted(key))
            known = None if "." in name else keys.get(dotted(key))
            if value is None and nulls and (known or children):
                continue
            told = _told(dotted_in_line(key), value, known, children)
            if told is not None:
                what, allowed, fix = told
                checked.bad.add(dotted(key))
                checked.problems.append(Problem(what, fix, allowed, source.where(key)))
            elif children:
                out[name] = kept(value, key)
            else:
                out[name] = value if known else None
        return out

    checked.data = kept(source.data, ())
    return checked


def _told(
    name: str, value: Any, known: Known | None, children: tuple[str, ...]
) -> tuple[str, str, str] | None:
    """What, allowed and fix, where something is wrong with a known key or section."""
    if value is None and (known or children):
        fix = "remove the line, or give the key a value; in a recipe, null is no value"
        return f"{name} = null", known.allowed if known else "a mapping of keys", fix
    if children and not isinstance(value, dict):
        fix = f"write the keys of {name} on indented lines under it"
        if isinstance(value, str) and (meant := spaced(value.partition(" ")[0])):
            fix = f"write a space after the colon: `{meant}`"
        return f"{name} is {describe(value)}", "a mapping with " + ", ".join(children), fix
    if known is None:
        return None
    told = (_unseen(known, text) or _text_told(known, text) for text in _texts(value))
    return next((it for it in told if it is not None), None)


def _unseen(known: Known, text: str) -> tuple[str, str, str] | None:
    what = f"{known.name} = {printable(show(text))}"
    if unseen := next((char for char in text if printable(char) != char), None):
        surrogate = "\ud800" <= unseen <= "\udfff"
        fix = "write the character itself, not halves of it" if surrogate else "remove it"
        return what, "letters that can be seen", f"{fix}: it holds {printable(unseen)}"
    return None


def _text_told(known: Known, text: str) -> tuple[str, str, str] | None:
    what = f"{known.name} = {printable(show(text))}"
    if text == "???":
        return what, known.allowed, "fill in the value; ??? only marks its place"
    reason = unreachable(text, tuple(known.name.split("."))) if "${" in text else ""
    here = known.name.startswith("runtime.")
    if reason == UNREADABLE:
        fix = "complete it, or write \\${ for the two characters themselves"
        return what, "${section.key} for another key's value", fix
    if reason == LIMITS:
        what = f"{known.name} is a text of {len(text):,} letters with {text.count('${')} ${{"
        fix = f"keep to {LONGEST_TEXT:,} letters and {MOST_IN_A_TEXT} of ${{section.key}}"
        return what, "${section.key} for another key's value", fix
    if not here and _OF_THIS_MACHINE.search(text):
        return (
            what,
            "environment variables and ${runtime.…} under runtime only",
            "write the value itself; a result must not depend on this machine",
        )
    if reason:
        more = ", ${oc.env:NAME} or ${oc.decode:${oc.env:NAME}}" if here else ""
        allowed = f"${{section.key}} for another key's value{more}; nothing else can be reached"
        return what, allowed, "write the value itself, or name the key whole, as ${train.seed}"
    return None


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, (list, dict)):
        for item in value.values() if isinstance(value, dict) else value:
            yield from _texts(item)


def _head_problems(source: Source, name: str) -> Iterator[Problem]:
    for key in (known for known in map(recipe_keys().get, HEAD) if known and known.required):
        if key.name not in source.data:
            yield Problem(
                where=source.where(()),
                what=f"{key.name} is missing",
                allowed=key.allowed,
                fix=f"add the line `{key.name}: {key.example or name}`",
            )
    if not _FILE_NAME.fullmatch(name):
        small = re.sub(r"[^a-z0-9._-]+", "-", name.lower()).strip("-._") or "mine"
        yield Problem(
            where=source.where(()),
            what=f"the recipe is called {show(name)}",
            allowed=recipe_keys()["name"].allowed,
            fix=f"rename the file to {small}.yaml, and write `name: {small}`",
        )
        return
    given = source.data.get("name", name)
    if given != name:
        yield Problem(
            where=source.where(("name",)),
            what=f"name = {show(given)}",
            allowed=f"{name}, as the file is called",
            fix=f"write `name: {name}`, or rename the file",
        )
