"""What all recipe sections share: they are closed, immutable, strict and documented in place.

Here is what the marks on keys mean for what a stage writes, so this module counts for every stage;
what says which values are allowed, and in which words, is in kinds.py and counts for none.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict
from pydantic.fields import FieldInfo


class Section(BaseModel):
    """A closed, immutable part of a recipe. Unknown keys are errors, nothing is converted.

    A whole number is welcome where a decimal one is asked for; `true`, `"1"` and `1.0` are not
    welcome where a whole number is.
    """

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        strict=True,
        allow_inf_nan=False,
        use_attribute_docstrings=True,
    )


@dataclass(frozen=True)
class Off:
    """The frozen value at which a key changes nothing: its code path is the identity.

    A key at its `Off` value is not there: identity, header, hashes and resolved.yaml leave it out,
    so a new key moves nobody's adapter. It is a constant of the key, not its default, and may
    never change (`tests/recipe/keys.py` holds the list).
    """

    value: bool | int | float | str | tuple[object, ...]


@dataclass(frozen=True)
class BelongsTo:
    """A key that has a meaning only while another one has a certain value.

    Otherwise it must stay at its default (a rule, made of this), and it is not there, as if it
    were `Off`. On a sub-section, it holds for all keys under it. Give `values`, `but` or `above`.
    """

    key: str
    """Dotted: `train.scheduler`."""

    values: tuple[bool | int | float | str, ...] = ()
    """The other key has one of these."""

    but: tuple[bool | int | float | str, ...] = ()
    """The other key has any value but these."""

    above: float | None = None
    """The other key is a number above this."""

    fix: str = ""
    """What makes the other key fit, where `write `scheduler: cosine`` and the like say too little.
    """

    position: int | None = None
    """The item that belongs, where the key is a list of several. The others do not."""

    or_else: BelongsTo | None = None
    """Another condition, where either will do."""

    def met_in(self, value_of: Callable[[str], Any]) -> bool:
        """Whether it is met, or what will do instead of it.

        Args:
            value_of: the plain value of a dotted key; None where that is not there.
        """
        value = value_of(self.key)
        if value is not None and self.met_by(value):
            return True
        return self.or_else is not None and self.or_else.met_in(value_of)

    def met_by(self, value: Any) -> bool:
        """Whether the other key's plain value is such a one."""
        if self.above is not None:
            return bool(value > self.above)
        return value in self.values if self.values else value not in self.but


@dataclass(frozen=True)
class HeaderField:
    """A field of the adapter's header in which other tools look for the value, as text.

    A key that is not there has none. Source: kohya-ss/sd-scripts, train_network.py.
    """

    name: str


Declared = TypeVar("Declared")


def first_of(info: FieldInfo, kind: type[Declared]) -> Declared | None:
    """A field's declaration of one kind: its `Off`, its `BelongsTo`, …"""
    return next((item for item in info.metadata if isinstance(item, kind)), None)


def section_of(info: FieldInfo) -> type[Section] | None:
    """The section that a field holds, or None where it holds a value."""
    kind = info.annotation
    return kind if isinstance(kind, type) and issubclass(kind, Section) else None


def plain_value(value: Any) -> Any:
    """A value as YAML would hold it."""
    return [plain_value(item) for item in value] if isinstance(value, tuple) else value
