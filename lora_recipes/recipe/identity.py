"""What of a recipe counts as said: all but the keys that change nothing.

A key at its `Off` value is not there, and neither is one that belongs to something that was not
chosen (`train.power` without the polynomial schedule): such a key must stay at its default, and
nothing reads it. resolved.yaml, the adapter's header, `recipe_sha256` and the fingerprint hold
what is there and no more. So the keys of a new release move no byte and no hash of adapters that
do not use them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, TypeVar

from pydantic.fields import FieldInfo

from lora_recipes.recipe.sections.section import (
    BelongsTo,
    HeaderField,
    Off,
    Section,
    first_of,
    plain_value,
    section_of,
)
from lora_recipes.tree import lookup

AnySection = TypeVar("AnySection", bound=Section)


def present(sections: Mapping[str, Section]) -> dict[str, dict[str, Any]]:
    """The plain values of sections by name, without the keys that are not there.

    Args:
        sections: by name; with those that a key of theirs belongs to.
    """
    plain = {name: section.model_dump(mode="json") for name, section in sections.items()}
    return {
        name: dict(_present(type(section), plain[name], name, plain))
        for name, section in sections.items()
    }


def restored(section: type[AnySection], values: Mapping[str, Any]) -> AnySection:
    """The section whose `present` values these are.

    A missing key has its `Off` value, or, where it belongs to something else, its default.

    Raises:
        pydantic.ValidationError: a key that is always there is missing, or a value is not allowed.
    """
    return section.model_validate(_filled(section, values))


def header_fields(sections: Mapping[str, Section]) -> Iterator[tuple[str, Any]]:
    """(field of an adapter's header, plain value) of each key that is there and has such a field.

    Args:
        sections: as `present` has it.
    """
    for name, values in present(sections).items():
        yield from _header_fields(type(sections[name]), values)


def _header_fields(section: type[Section], values: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for field, value in values.items():
        info = section.model_fields[field]
        inner = section_of(info)
        if inner is not None:
            yield from _header_fields(inner, value)
        for item in info.metadata:
            if isinstance(item, HeaderField):
                yield item.name, value


def is_off(value: Any, off: Off) -> bool:
    """Whether a plain value is a key's `Off` value. 0 and 0.0 are one number; false is none."""
    frozen = plain_value(off.value)
    return bool(value == frozen) and isinstance(value, bool) == isinstance(frozen, bool)


def _present(
    section: type[Section], values: Mapping[str, Any], name: str, every: Mapping[str, Any]
) -> Iterator[tuple[str, Any]]:
    for field, info in section.model_fields.items():
        value = values[field]
        owner, off = _owner(info), first_of(info, Off)
        if owner is not None and not owner.met_in(lambda key: lookup(every, key.split("."))):
            continue
        if off is not None and is_off(value, off):
            continue
        inner = section_of(info)
        if inner is None:
            yield field, value
        elif found := dict(_present(inner, value, f"{name}.{field}", every)):
            yield field, found


def _filled(section: type[Section], values: Mapping[str, Any]) -> dict[str, Any]:
    filled = dict(values)
    for field, info in section.model_fields.items():
        inner = section_of(info)
        if inner is not None and (field in values or _may_be_empty(inner)):
            filled[field] = _filled(inner, values.get(field, {}))
        elif field not in values:
            # None for a key that is always there: no key allows it, so pydantic names the key.
            filled[field] = _unsaid(info)
    return filled


def _unsaid(info: FieldInfo) -> Any:
    """The value of a key that is not there."""
    off = first_of(info, Off)
    if off is not None:
        return plain_value(off.value)
    return plain_value(info.default) if _owner(info) else None


def _may_be_empty(section: type[Section]) -> bool:
    """Whether all keys of a section can be missing, so that the section is missing too."""
    return all(first_of(info, Off) or _owner(info) for info in section.model_fields.values())


def _owner(info: FieldInfo) -> BelongsTo | None:
    """What a key as a whole belongs to. One item of a list may; the list is there all the same."""
    owner = first_of(info, BelongsTo)
    return owner if owner and owner.position is None else None
