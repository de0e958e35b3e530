"""The pictures: for each prompt the base model beside the adapter, and the way in between."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import groupby

from lora_recipes.report.images import Embedded, embed, side_for
from lora_recipes.report.inputs import Drawn, Inputs

LONG_STRIP = 3
"""A strip of more pictures than this takes a row of the page for itself."""

NAMES = {"none": "Base", "final": "Adapter"}
KINDS = {"none": "base", "final": "adapter"}


@dataclass(frozen=True)
class Shown:
    """One picture, with its name and its class in the style: base, adapter or snapshot."""

    drawn: Drawn
    image: Embedded
    name: str
    kind: str


@dataclass(frozen=True)
class Card:
    """A prompt with a strip of pictures for each seed."""

    prompt: str
    strips: list[list[Shown]]

    @property
    def wide(self) -> bool:
        """Whether it takes a row of the page for itself."""
        return any(len(strip) > LONG_STRIP for strip in self.strips)


def cards(inputs: Inputs) -> list[Card]:
    """All sample pictures, in the order of the recipe's prompts and seeds."""
    side = side_for(len(inputs.drawn))
    last = inputs.steps[-1].step if inputs.steps else 0

    def shown(one: Drawn) -> Shown:
        name = NAMES.get(one.adapter) or _share(one.adapter, last)
        return Shown(one, embed(one.path, side), name, KINDS.get(one.adapter, "snapshot"))

    found = []
    for _, row in groupby(inputs.drawn, key=lambda one: one.row):
        strips = [[*map(shown, strip)] for _, strip in groupby(row, key=lambda one: one.seed)]
        found.append(Card(strips[0][0].drawn.prompt, strips))
    return found


def _share(name: str, last: int) -> str:
    """A snapshot's place on the way: "Step 100 (50 %)"."""
    step = int(name.removeprefix("step-"))
    return f"Step {step:,} ({100 * step / last:.0f}\u202f%)" if last else f"Step {step:,}"
