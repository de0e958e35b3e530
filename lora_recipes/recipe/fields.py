"""Every key of a recipe with what is known about it, read from the sections themselves."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator
from dataclasses import dataclass
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from annotated_types import Ge, Gt, Le, Lt, MultipleOf
from pydantic.fields import FieldInfo

from lora_recipes.printable import line
from lora_recipes.recipe.model import HEAD, SECTIONS, Recipe
from lora_recipes.recipe.sections.kinds import Advised, Allowed, Short
from lora_recipes.recipe.sections.params import Params
from lora_recipes.recipe.sections.section import (
    BelongsTo,
    HeaderField,
    Off,
    Section,
    first_of,
    plain_value,
    section_of,
)

RECIPE_TOP = (*HEAD, *SECTIONS)
"""What a recipe may hold at its top."""

PARAMS_TOP = ("recipe", "data", *SECTIONS, "runtime")
"""What params.yaml may hold at its top."""

LONGEST_SHOWN = 4096
"""Letters of a text that a message shows whole."""

_OTHER_THAN_TEXT = re.compile(r"true|false|null|~|[-+]?[0-9][0-9._]*([eE][-+]?[0-9]+)?")


@dataclass(frozen=True)
class Key:
    """One key of a recipe."""

    name: str
    """Dotted: `train.learning_rate`."""

    default: Any
    """As YAML would hold it (lists, not tuples). None where the key has to be given."""

    allowed: str
    """What the key may hold, in words."""

    advised: Advised | None
    """The range in which it is known to work."""

    words: tuple[str, ...]
    """The words among what is allowed, for near misses."""

    text: str
    """Its documentation."""

    off: Off | None
    """The value at which it changes nothing, if there is one."""

    belongs_to: tuple[BelongsTo, ...]
    """Its sub-section's declaration, then its own."""

    header: tuple[str, ...]
    """The fields of the adapter's header that hold it as it is."""

    short: str
    """The few words beside it in params.yaml."""

    example: Any
    """A value to write, where there is no default."""

    @property
    def required(self) -> bool:
        """Whether the key has no default."""
        return self.default is None


@functools.cache
def recipe_keys() -> dict[str, Key]:
    """Every key of a recipe by its dotted name, in the order of the pipeline."""
    return _keys(Recipe)


@functools.cache
def runtime_keys() -> dict[str, Key]:
    """Every key of params.yaml's `runtime`, by its dotted name."""
    return {name: key for name, key in params_keys().items() if "." in name}


@functools.cache
def params_keys() -> dict[str, Key]:
    """What params.yaml holds beside its overrides: `recipe`, `data`, and the keys of `runtime`."""
    return _keys(Params)


@functools.cache
def overridable_keys() -> dict[str, Key]:
    """The keys that params.yaml can override: all those inside the sections."""
    return {name: key for name, key in recipe_keys().items() if name.partition(".")[0] in SECTIONS}


@functools.cache
def section_texts() -> dict[str, str]:
    """What each section is about, by its dotted name: `train`, `train.adafactor`, …"""
    found = [*_fields(Recipe), *_fields(Params)]
    return {name: inner.__doc__ or "" for name, _, inner, _ in found if inner is not None}


@functools.cache
def section_shorts() -> dict[str, str]:
    """The few words beside each section in params.yaml, by its dotted name."""
    found = [*_fields(Recipe), *_fields(Params)]
    return {name: _short(info) for name, info, inner, _ in found if inner is not None}


@functools.cache
def keys_under(section: str) -> tuple[str, ...]:
    """The names right under a section; none for a name that is no section's."""
    below = [key[len(section) + 1 :] for key in every_key() if key.startswith(f"{section}.")]
    return tuple(dict.fromkeys(name.partition(".")[0] for name in below))


@functools.cache
def every_key() -> dict[str, Key]:
    """The keys of a recipe and those of params.yaml's `runtime`."""
    return recipe_keys() | runtime_keys()


@functools.cache
def belongings() -> dict[str, BelongsTo]:
    """What belongs to another key, by the dotted name of the key or sub-section."""
    found = ((name, first_of(info, BelongsTo)) for name, info, _, _ in _fields(Recipe))
    return {name: owner for name, owner in found if owner is not None}


def show(value: Any) -> str:
    """A value in one line as a user would write it; text that looks like more is quoted."""
    if isinstance(value, str) and len(value) > LONGEST_SHOWN:
        value = f"{value[:40]}… ({len(value):,} letters)"
    if isinstance(value, bool) or value is None:
        return {True: "true", False: "false", None: "null"}[value]
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(map(show, value)) + "]"
    if isinstance(value, dict):
        return (
            "{"
            + ", ".join(f"{line(str(key))}: {show(inner)}" for key, inner in value.items())
            + "}"
        )
    if isinstance(value, str) and (value == "" or _OTHER_THAN_TEXT.fullmatch(value)):
        return f"'{value}'"
    return line(str(value), LONGEST_SHOWN)


_Field = tuple[str, FieldInfo, type[Section] | None, tuple[BelongsTo, ...]]
"""Dotted name, field, the section that it holds if it does, and what it belongs to."""


def _fields(
    section: type[Section], prefix: str = "", owners: tuple[BelongsTo, ...] = ()
) -> Iterator[_Field]:
    """Every key and every sub-section under a section, the outer ones first."""
    for field, info in section.model_fields.items():
        name, inner = prefix + (info.alias or field), section_of(info)
        owner = first_of(info, BelongsTo)
        own = (*owners, owner) if owner else owners
        yield name, info, inner, own
        if inner is not None:
            yield from _fields(inner, f"{name}.", own)


def _keys(section: type[Section]) -> dict[str, Key]:
    found = _fields(section)
    return {name: _key(name, info, own) for name, info, inner, own in found if inner is None}


def _short(info: FieldInfo) -> str:
    short = first_of(info, Short)
    return short.text if short else ""


def _key(name: str, info: FieldInfo, owners: tuple[BelongsTo, ...]) -> Key:
    kind = Annotated[info.annotation, *info.metadata] if info.metadata else info.annotation
    return Key(
        name=name,
        default=None if info.is_required() else plain_value(info.default),
        allowed=", or ".join(_in_words(kind, ())),
        advised=first_of(info, Advised),
        words=tuple(_words(kind)),
        text=info.description or "",
        off=first_of(info, Off),
        belongs_to=owners,
        header=tuple(item.name for item in info.metadata if isinstance(item, HeaderField)),
        short=_short(info),
        example=next(iter(info.examples or ()), None),
    )


def _in_words(kind: Any, limits: tuple[Any, ...]) -> list[str]:
    """The alternatives of a type, each in words."""
    if get_origin(kind) is Annotated:
        inner, *more = get_args(kind)
        return _in_words(inner, (*_flat(more), *limits))
    told = [item.text for item in limits if isinstance(item, Allowed)]
    if told:
        return told[:1]
    if get_origin(kind) in (Union, UnionType):
        return [words for part in get_args(kind) for words in _in_words(part, limits)]
    return [_one_in_words(kind, limits)]


def _one_in_words(kind: Any, limits: tuple[Any, ...]) -> str:
    if get_origin(kind) is Literal:
        *first, last = map(str, get_args(kind))
        return " or ".join([", ".join(first), last] if first else [last])
    if get_origin(kind) is tuple:
        return "a list of: " + " or ".join(_in_words(get_args(kind)[0], ()))
    if kind in (bool, str):
        return "true or false" if kind is bool else "a text"
    return ("a whole number" if kind is int else "a number") + _span(limits)


def _words(kind: Any) -> Iterator[str]:
    if get_origin(kind) is Literal:
        yield from map(str, get_args(kind))
    elif get_origin(kind) in (Union, UnionType, Annotated):
        for part in get_args(kind):
            yield from _words(part)


def _flat(limits: list[Any]) -> Iterator[Any]:
    for item in limits:
        if isinstance(item, FieldInfo):
            yield from item.metadata
        else:
            yield item


def _span(limits: tuple[Any, ...]) -> str:
    """` from 1 to 1024`, ` above 0 up to 0.1`, ` from 64 to 4096, a multiple of 8`."""
    found = {type(item): item for item in limits}
    text = ""
    if Ge in found:
        text += f" from {_number(found[Ge].ge)}"
    if Gt in found:
        text += f" above {_number(found[Gt].gt)}"
    if Le in found:
        text += f" {'to' if Ge in found else 'up to'} {_number(found[Le].le)}"
    if Lt in found:
        text += f" {'to' if Ge in found else 'and'} below {_number(found[Lt].lt)}"
    if MultipleOf in found:
        text += f", a multiple of {found[MultipleOf].multiple_of}"
    return text


def _number(limit: Any) -> str:
    return "2^63 - 1" if limit == 2**63 - 1 else f"{limit:,}"
