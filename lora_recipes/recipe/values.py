"""What pydantic finds wrong with values, told in words that a user can act on."""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar

from pydantic import ValidationError

from lora_recipes.errors import Place, Problem
from lora_recipes.recipe.fields import (
    LONGEST_SHOWN,
    PARAMS_TOP,
    RECIPE_TOP,
    keys_under,
    overridable_keys,
    params_keys,
    recipe_keys,
    show,
)
from lora_recipes.recipe.fields import Key as Known
from lora_recipes.recipe.model import HEAD, Recipe
from lora_recipes.recipe.near import OTHER_NAMES, did_you_mean
from lora_recipes.recipe.sections.section import Section
from lora_recipes.recipe.yaml_hints import spaced
from lora_recipes.recipe.yamlfile import Key, describe, dotted, dotted_in_line, names_only
from lora_recipes.tree import lookup

AnySection = TypeVar("AnySection", bound=Section)

_COMMA = re.compile(r"[-+]?\d*,\d+([eE][-+]?\d+)?")
_TIMES = re.compile(r"(\d{1,5})\s*[xX×*]\s*(\d{1,5})")
_NUMBER = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?")


def validate(
    section: type[AnySection],
    values: dict[str, Any],
    where: Callable[[Key], Place | str],
    raw: dict[str, Any],
) -> tuple[AnySection | None, dict[Key, Problem]]:
    """Make a Recipe or Params of plain values, or say everything that is wrong with them.

    Args:
        section: which of the two.
        values: merged and interpolated.
        where: finds the place of a key.
        raw: the values before interpolation.
    """
    keys, top = (recipe_keys(), RECIPE_TOP) if section is Recipe else (params_keys(), PARAMS_TOP)
    try:
        return section.model_validate(values), {}
    except ValidationError as error:
        problems: dict[Key, Problem] = {}
        for detail in error.errors(include_url=False, include_context=False):
            if detail["type"] == "missing" and section is Recipe and len(detail["loc"]) == 1:
                continue  # each file was asked for a head of its own
            key = _key(detail["loc"], keys)
            if key in problems:
                continue
            if detail["type"] == "extra_forbidden":
                beside = keys_under(dotted(key[:-1])) or top
                what, allowed, fix = _other_key(key, beside)
            else:
                known = keys[dotted(names_only(key))]
                what, allowed, fix = _told(known, key, lookup(values, key), lookup(raw, key))
            problems[key] = Problem(what, fix, allowed, where(key))
        return None, problems


def without(values: dict[str, Any], keys: Iterable[Key]) -> Recipe:
    """The recipe with some keys at their defaults, so that rules can look at all the others."""
    values = copy.deepcopy(values)
    for *sections, leaf in map(names_only, keys):
        (lookup(values, tuple(sections)) or {}).pop(leaf, None)
    values |= {"schema": 1, "version": 1, "name": "x", "description": "x", "extends": "none"}
    return Recipe.model_validate(values)


def outside_advised(recipe: Recipe, where: Callable[[Key], Place | str]) -> Iterator[Problem]:
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


def _key(location: Key, keys: dict[str, Known]) -> Key:
    """The key of a pydantic error: names down to the leaf, and the position in a list."""
    for length in range(1, len(location) + 1):
        if dotted(location[:length]) in keys:
            position = location[length : length + 1]
            return location[:length] + (position if position and _is_int(position[0]) else ())
    return location


def _is_int(part: object) -> bool:
    return isinstance(part, int)


def _told(known: Known, key: Key, value: Any, raw: Any) -> tuple[str, str, str]:
    """What, allowed and fix of a wrong value."""
    name = dotted_in_line(key)
    if isinstance(value, dict) and _takes_texts(known):
        return f"{name} = {show(value)} is a mapping", known.allowed, _quoted(value)
    if isinstance(value, dict):
        return f"{name} is a mapping", known.allowed, "write one value after the colon"
    if value is None and not _is_int(key[-1]):
        return f"{name} is missing", known.allowed, _fix(known, value, raw)
    if key[0] == "runtime" and isinstance(raw, str) and "${" in raw:
        # it may come from the environment, through other keys too: that is not for the screen
        return f"{name} = {show(raw)}, which is {describe(value)} here", known.allowed, _of_env(raw)
    source = f" (from {show(raw)})" if isinstance(raw, str) and raw != value and "${" in raw else ""
    fix = _as_list(known, key, value) or _fix(known, value, raw)
    if isinstance(raw, str) and isinstance(value, int) and "number" not in known.allowed:
        return f"{name} = {raw}", known.allowed, f'put it in quotes: "{raw}"'
    return f"{name} = {show(value)}{source}", known.allowed, fix


def _other_key(key: Key, beside: tuple[str, ...]) -> tuple[str, str, str]:
    """What, allowed and fix where a file holds a key that there is not."""
    name, known = str(key[-1]), overridable_keys()
    ours = OTHER_NAMES.get(name.lower(), name)
    elsewhere = [other for other in known if other.rpartition(".")[2] == ours]
    if meant := spaced(name):
        fix = f"write a space after the colon: `{meant}`"
    elif name in known:
        section, _, rest = name.partition(".")
        fix = f"write {rest} on a line of its own under {section}:"
    elif elsewhere and ours not in beside:
        it = "it" if ours == name else ours
        fix = f"write {it} under {elsewhere[0].rpartition('.')[0]}:"
    elif name in HEAD:
        fix = "remove the line; each recipe says its own"
    else:
        fix = did_you_mean(name, beside, "remove the line")
    return f"{dotted_in_line(key)} is not a key", "one of " + ", ".join(beside), fix


def _fix(known: Known, value: Any, raw: Any) -> str:
    if known.required:
        return f"write, for example, `{known.name}: {known.example}`"
    default = f"; the default is {show(known.default)}"
    numeric = "number" in known.allowed
    if slip := _slip(known, value):
        return slip
    if isinstance(value, str) and known.words:
        return did_you_mean(value, known.words, f"choose what is allowed{default}")
    if isinstance(value, float) and value.is_integer() and "a whole number" in known.allowed:
        return f"write a whole number, {int(value)}"
    in_range = numeric and isinstance(value, (int, float)) and not isinstance(value, bool)
    return ("choose a value in that range" if in_range else "choose what is allowed") + default


def _slip(known: Known, value: Any) -> str | None:
    """The fix of a value that another country's or program's way of writing explains."""
    if isinstance(value, str) and len(value) > LONGEST_SHOWN:
        return f"write at most {LONGEST_SHOWN:,} letters"
    numeric = "number" in known.allowed
    if isinstance(value, str) and numeric and _NUMBER.fullmatch(value):
        return "write it without quotes"
    if isinstance(value, str) and numeric and _COMMA.fullmatch(value):
        return f"write a point: {value.replace(',', '.')}"
    if (
        isinstance(value, str)
        and "[width, height]" in known.allowed
        and (size := _TIMES.fullmatch(value))
    ):
        width, height = map(int, size.groups())
        one = f" or {width}" if width == height and "a whole number" in known.allowed else ""
        return f"write [{width}, {height}]{one}"
    if isinstance(value, (bool, int, float)) and _takes_texts(known):
        return "put it in quotes, which makes a text of it"
    return None


def _takes_texts(known: Known) -> bool:
    return known.allowed in ("a text", "a list of texts")


def _quoted(value: dict[str, Any]) -> str:
    """The fix where a text with a colon or in braces was read as a mapping."""
    [(name, inner), *more] = value.items() or [("", None)]
    if more or isinstance(inner, (dict, list)):
        return "quote the text"
    text = f"{{{name}}}" if inner is None else f"{name}: {inner}"
    return f"quote the text: {json.dumps(text, ensure_ascii=False)}"


def _of_env(raw: str) -> str:
    if "oc.env" not in raw:
        return "name a key whose value is allowed here, or write the value itself"
    if "oc.decode" in raw:
        return "give the environment variable a value that is allowed"
    return "write ${oc.decode:${oc.env:NAME}}, which makes a number of the text"


def _as_list(known: Known, key: Key, value: Any) -> str | None:
    """The fix where one value stands in place of a list of such.

    Texts are shown in quotes: between brackets, a comma would end them.
    """
    if not known.allowed.startswith("a list") or _is_int(key[-1]) or isinstance(value, bool):
        return None
    if "below 1" in known.allowed and isinstance(value, (int, float)) and value >= 1:
        return "write shares of the training, such as [0.25, 0.5, 0.75]"
    if "number" not in known.allowed:
        shown = json.dumps(value, ensure_ascii=False) if isinstance(value, str) else None
    else:
        shown = str(value) if _NUMBER.fullmatch(str(value)) else None
    return f"write it as a list: [{shown}]" if shown else None
