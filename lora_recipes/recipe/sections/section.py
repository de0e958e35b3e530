"""What all recipe sections share: they are closed, immutable, strict and documented in place."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field


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
class Advised:
    """The range in which a number is known to work. Outside: a warning, or an error if strict."""

    low: float
    high: float
    also: tuple[float, ...] = ()
    """Single values outside the range that are fine too."""

    def admits(self, value: float) -> bool:
        """Whether a value needs no warning."""
        return self.low <= value <= self.high or value in self.also

    def __str__(self) -> str:
        span = f"{self.low:g} to {self.high:g}"
        return " or ".join([*(f"{value:g}" for value in self.also), span])


@dataclass(frozen=True)
class Allowed:
    """What a text field may hold, in words, where a pattern alone would not tell."""

    text: str


@dataclass(frozen=True)
class Off:
    """The frozen value at which a key changes nothing: its code path is the identity.

    A key at its `Off` value is not there: identity, header, hashes and resolved.yaml leave it out,
    so a new key moves nobody's adapter. It is a constant of the key, not its default, and may
    never change (`tests/recipe/test_identity.py` holds the list).
    """

    value: bool | int | float | str | tuple[object, ...]


@dataclass(frozen=True)
class BelongsTo:
    """A key that has a meaning only while another one has one of certain values.

    Otherwise it must stay at its default, and it is not there, as if it were `Off`.
    """

    key: str
    """Dotted: `train.scheduler`."""

    values: tuple[bool | int | float | str, ...]


@dataclass(frozen=True)
class HeaderField:
    """The field of the adapter's header in which other tools look for the value."""

    name: str


@dataclass(frozen=True)
class Short:
    """The few words beside the key in params.yaml."""

    text: str


Seed = Annotated[int, Field(ge=0, le=2**63 - 1)]
"""Where chance starts."""

Pixels = Annotated[int, Field(ge=64, le=4096, multiple_of=8)]
"""An edge in pixels. The VAE works on blocks of 8."""

Size = Annotated[
    tuple[Pixels, Pixels],
    Field(strict=False),
    Allowed("[width, height], multiples of 8 from 64 to 4,096"),
]
"""Width and height in pixels."""

Name = Annotated[str, Field(min_length=1)]
"""A text that is not empty."""

Revision = Annotated[
    str, Field(pattern=r"^(none|[0-9a-f]{40})$"), Allowed("40 hex digits (a commit), or none")
]
"""A commit of a Hugging Face repository."""

Folder = Annotated[
    str,
    Field(pattern=r"^[^./\\][^/\\]*$"),
    Allowed("the name of a sub-folder, without slashes, or none"),
]
"""A sub-folder of the data folder, or `none`."""
