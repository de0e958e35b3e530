"""Whether a file's keys are keys of a recipe, before its values are looked at."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from lora_recipes.errors import Problem
from lora_recipes.recipe.fields import recipe_keys, runtime_keys, section_texts, show
from lora_recipes.recipe.model import HEAD, SECTIONS
from lora_recipes.recipe.near import OTHER_NAMES, did_you_mean
from lora_recipes.recipe.yaml_hints import spaced
from lora_recipes.recipe.yamlfile import Key, Source, describe, dotted

PARAMS_KEYS = ("recipe", "data", *SECTIONS, "runtime")
"""What params.yaml may hold at its top."""

RECIPE_KEYS = (*HEAD, *SECTIONS)
"""What a recipe may hold at its top."""

_OF_THIS_MACHINE = re.compile(r"\$\{[^}]*\b(oc\.env|runtime\.)")


@dataclass
class Checked:
    """A file whose wrong keys were reported and left out."""

    source: Source
    data: dict[str, Any]
    problems: list[Problem] = field(default_factory=list)

    bad: set[str] = field(default_factory=set)
    """Dotted keys that were left out."""


def check_recipe(source: Source, name: str) -> Checked:
    """Check a recipe's keys, and that its head says what each recipe has to say of itself."""
    checked = Checked(source, {})
    checked.data = _mapping(checked, source.data, (), RECIPE_KEYS, nulls_mean_nothing=False)
    checked.problems.extend(_head_problems(source, name))
    return checked


def check_params(source: Source) -> Checked:
    """Check the keys of params.yaml. There null means "the recipe's own", so nulls are dropped."""
    checked = Checked(source, {})
    checked.data = _mapping(checked, source.data, (), PARAMS_KEYS, nulls_mean_nothing=True)
    for key in ("recipe", "data"):
        value = source.data.get(key)
        if not isinstance(value, str) or not value or "${" in value:
            what = f"{key} = {show(value)}" if value is not None else f"{key} is missing"
            checked.problems.append(_top_problem(source, key, what))
            checked.data.pop(key, None)
    return checked


def _mapping(
    checked: Checked,
    data: dict[str, Any],
    key: Key,
    known: tuple[str, ...],
    *,
    nulls_mean_nothing: bool,
) -> dict[str, Any]:
    """The part of a mapping that holds known keys in the right shape; reports the rest."""
    kept: dict[str, Any] = {}
    for name, value in data.items():
        inner = (*key, name)
        problem = None
        if name not in known:
            problem = _unknown(inner, known)
        elif value is None:
            problem = None if nulls_mean_nothing else _null(inner)
        elif children := _children(dotted(inner)):
            if isinstance(value, dict):
                kept[name] = _mapping(
                    checked, value, inner, children, nulls_mean_nothing=nulls_mean_nothing
                )
            else:
                problem = _not_a_section(inner, value, children)
        else:
            problem = _text_problem(inner, value)
            if problem is None:
                kept[name] = value
        if problem is not None:
            what, allowed, fix = problem
            checked.bad.add(dotted(inner))
            where = checked.source.where(inner)
            checked.problems.append(Problem(where=where, what=what, allowed=allowed, fix=fix))
    return kept


def _children(section: str) -> tuple[str, ...]:
    """The keys right under a section, or nothing if the name is no section's."""
    if section not in section_texts():
        return ()
    keys = [*recipe_keys(), *runtime_keys()]
    names = [key[len(section) + 1 :] for key in keys if key.startswith(section + ".")]
    return tuple(dict.fromkeys(name.partition(".")[0] for name in names))


_Told = tuple[str, str, str]
"""What, allowed, fix."""


def _unknown(key: Key, known: tuple[str, ...]) -> _Told:
    name = str(key[-1])
    ours = OTHER_NAMES.get(name.lower(), name)
    elsewhere = [other for other in recipe_keys() if other.rpartition(".")[2] == ours]
    otherwise = "remove the line"
    if name in recipe_keys():
        section, _, rest = name.partition(".")
        otherwise = f"write {rest} on a line of its own under {section}:"
    elif elsewhere and ours not in known:
        it = "it" if ours == name else ours
        otherwise = f"write {it} under {elsewhere[0].rpartition('.')[0] or 'nothing'}:"
        return f"{dotted(key)} is not a key", "one of " + ", ".join(known), otherwise
    fix = did_you_mean(name, known, otherwise) if name not in recipe_keys() else otherwise
    if meant := spaced(name):
        fix = f"write a space after the colon: `{meant}`"
    return f"{dotted(key)} is not a key", "one of " + ", ".join(known), fix


def _null(key: Key) -> _Told:
    known = recipe_keys().get(dotted(key))
    return (
        f"{dotted(key)} = null",
        known.allowed if known else "a mapping of keys",
        "remove the line, or give the key a value; in a recipe, null is no value",
    )


def _not_a_section(key: Key, value: Any, children: tuple[str, ...]) -> _Told:
    fix = f"write the keys of {dotted(key)} on indented lines under it"
    if isinstance(value, str) and (meant := spaced(value.partition(" ")[0])):
        fix = f"write a space after the colon: `{meant}`"
    return f"{dotted(key)} is {describe(value)}", "a mapping with " + ", ".join(children), fix


def _text_problem(key: Key, value: Any) -> _Told | None:
    """What is wrong with a value before its type is looked at: `${`, `???`, a mapping."""
    known = (recipe_keys() | runtime_keys()).get(dotted(key))
    allowed = known.allowed if known else ""
    if isinstance(value, dict):
        return f"{dotted(key)} is a mapping", allowed, "write one value after the colon"
    for text in _texts(value):
        if text == "???":
            fix = "fill in the value; ??? only marks its place"
            return f"{dotted(key)} = ???", allowed, fix
        if "${" in text and not _is_interpolation(text):
            return (
                f"{dotted(key)} = {text}",
                "${section.key} for another key's value",
                "complete it, or write \\${ for the two characters themselves",
            )
        if key[0] != "runtime" and _OF_THIS_MACHINE.search(text):
            return (
                f"{dotted(key)} = {text}",
                "environment variables and ${runtime.…} under runtime only",
                "write the value itself; a result must not depend on this machine",
            )
    return None


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, list):
        for item in value:
            yield from _texts(item)


def _is_interpolation(text: str) -> bool:
    from omegaconf.errors import GrammarParseError
    from omegaconf.grammar_parser import parse

    try:
        parse(text)
    except GrammarParseError:
        return False
    return True


def _head_problems(source: Source, name: str) -> Iterator[Problem]:
    examples = {"schema": "1", "name": name, "version": "1", "description": "what it is for"}
    for key, example in examples.items():
        if key not in source.data:
            yield Problem(
                where=source.shown,
                what=f"{key} is missing",
                allowed=recipe_keys()[key].allowed,
                fix=f"add the line `{key}: {example}`",
            )
    given = source.data.get("name", name)
    if given != name:
        yield Problem(
            where=source.where(("name",)),
            what=f"name = {show(given)}",
            allowed=f"{name}, as the file is called",
            fix=f"write `name: {name}`, or rename the file",
        )


def _top_problem(source: Source, key: str, what: str) -> Problem:
    allowed = {"recipe": "the name of a recipe", "data": "the path of the folder with the images"}
    example = {"recipe": "pocket-demo", "data": "data/demo"}
    return Problem(
        where=source.where((key,)),
        what=what,
        allowed=allowed[key],
        fix=f"write, for example, `{key}: {example[key]}`",
    )
