"""Kinds of values that keys of several sections have, and what is told of a key in words."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from pydantic import Field


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

Name = Annotated[str, Field(min_length=1, max_length=4096)]
"""A text that is not empty, of at most 4,096 letters."""

Revision = Annotated[
    str, Field(pattern=r"^(none|[0-9a-f]{40})$"), Allowed("40 hex digits (a commit), or none")
]
"""A commit of a Hugging Face repository."""

FOLDER = r"^[^./\\][^/\\]*$"
"""The name of a sub-folder, or a word."""

Folder = Annotated[
    str,
    Field(pattern=FOLDER),
    Allowed("the name of a sub-folder, without slashes, or none"),
]
"""A sub-folder of the data folder, or `none`."""
