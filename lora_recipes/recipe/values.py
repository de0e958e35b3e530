"""Whether values are what their keys allow, told in words that a user can act on."""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar

from pydantic import ValidationError

from lora_recipes.errors import Problem
from lora_recipes.recipe.fields import Key as Known
from lora_recipes.recipe.fields import overridable_keys, recipe_keys, runtime_keys, show
from lora_recipes.recipe.model import Recipe
from lora_recipes.recipe.near import did_you_mean
from lora_recipes.recipe.sections.section import Section
from lora_recipes.recipe.yamlfile import Key, dotted

Where = Callable[[Key], str]
Lookup = Callable[[Key], Any]
AnySection = TypeVar("AnySection", bound=Section)

_NUMBER = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?")


def validate(
    section: type[AnySection], values: dict[str, Any], prefix: Key, where: Where, raw: Lookup
) -> tuple[AnySection | None, dict[Key, Problem]]:
    """Make a section of plain values, or say everything that is wrong with them.

    Args:
        section: what the values should make: Recipe or Runtime.
        values: merged and interpolated.
        prefix: where the section stands; empty for a whole recipe.
        where: finds `file:line` of a key.
        raw: finds what the file says at a key, before interpolation.
    """
    try:
        return section.model_validate(values), {}
    except ValidationError as error:
        problems: dict[Key, Problem] = {}
        for detail in error.errors(include_url=False, include_context=False):
            if detail["type"] == "missing":
                continue  # the check of the file's structure has said so
            key = _key((*prefix, *detail["loc"]))
            if key not in problems:
                value = _value(values, key[len(prefix) :])
                problems[key] = _problem(key, value, raw(key), where(key))
        return None, problems


def without(values: dict[str, Any], keys: Iterable[Key]) -> Recipe:
    """The recipe with some keys at their defaults, so that rules can look at all the others."""
    values = copy.deepcopy(values) | {"schema": 1, "version": 1, "name": "x", "description": "x"}
    for *sections, leaf in map(names_only, keys):
        if sections:
            place = _value(values, tuple(sections))
            place.pop(leaf, None)
    values.pop("extends", None)
    return Recipe.model_validate(values)


def names_only(key: Key) -> tuple[str, ...]:
    """A key without positions in lists."""
    return tuple(part for part in key if isinstance(part, str))


def outside_advised(recipe: Recipe, where: Where) -> Iterator[Problem]:
    """A warning for each number outside the range in which it is known to work."""
    for known in overridable_keys().values():
        key = tuple(known.name.split("."))
        value = value_of(recipe, known.name)
        if known.advised is None or not isinstance(value, (int, float)):
            continue
        goes_round = known.name == "train.repeats" and recipe.train.steps != "auto"
        if not known.advised.admits(value) and not goes_round:
            yield Problem(
                where=where(key),
                what=f"{known.name} = {show(value)}",
                allowed=f"{known.advised} is advised",
                fix=f"choose a value in that range, unless you know better; the default is "
                f"{show(known.default)}",
            )


def value_of(recipe: Recipe, name: str) -> Any:
    """The value of a dotted key in a recipe."""
    value: Any = recipe
    for part in name.split("."):
        value = getattr(value, "schema_" if part == "schema" else part)
    return value


def _key(location: tuple[str | int, ...]) -> Key:
    """The key of a pydantic error: names down to the leaf, and the position in a list."""
    known = recipe_keys() | runtime_keys()
    for length in range(1, len(location) + 1):
        if dotted(location[:length]) in known:
            position = location[length : length + 1]
            return location[:length] + (position if position and _is_int(position[0]) else ())
    return location


def _is_int(part: object) -> bool:
    return isinstance(part, int)


def _value(values: Any, key: Key) -> Any:
    for part in key:
        values = values[part]
    return values


def _problem(key: Key, value: Any, raw: Any, where: str) -> Problem:
    known = (recipe_keys() | runtime_keys())[dotted(names_only(key))]
    source = f" (from {raw})" if isinstance(raw, str) and raw != value and "${" in raw else ""
    return Problem(
        where=where,
        what=f"{dotted(key)} = {show(value)}{source}",
        allowed=known.allowed,
        fix=_as_list(known, key, value) or _fix(known, value, raw),
    )


def _fix(known: Known, value: Any, raw: Any) -> str:
    default = "" if known.required else f"; the default is {show(known.default)}"
    if isinstance(value, str) and isinstance(raw, str) and "oc.env" in raw:
        return "write ${oc.decode:${oc.env:NAME}}, which makes a number of the text"
    numeric = "number" in known.allowed
    if isinstance(value, str) and numeric and _NUMBER.fullmatch(value):
        return "write it without quotes"
    if isinstance(value, str) and known.words:
        return did_you_mean(value, known.words, f"choose what is allowed{default}")
    if isinstance(value, float) and value.is_integer() and "a whole number" in known.allowed:
        return f"write a whole number, {int(value)}"
    in_range = numeric and isinstance(value, (int, float)) and not isinstance(value, bool)
    return ("choose a value in that range" if in_range else "choose what is allowed") + default


def _as_list(known: Known, key: Key, value: Any) -> str | None:
    """The fix where one value stands in place of a list of such.

    Texts are shown in quotes: between brackets, a comma would end them.
    """
    if not known.allowed.startswith("a list") or _is_int(key[-1]) or isinstance(value, bool):
        return None
    if "number" not in known.allowed:
        shown = json.dumps(value, ensure_ascii=False) if isinstance(value, str) else None
    else:
        shown = str(value) if _NUMBER.fullmatch(str(value)) else None
    return f"write it as a list: [{shown}]" if shown else None
