"""The pictures: for each prompt the base model beside the adapter, and the way in between."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

from PIL import Image

from lora_recipes.dataset.roles import HELDOUT, TRAIN
from lora_recipes.report.figures import BASE, FINAL, best, step_of
from lora_recipes.report.images import Embedded, embed, side_for
from lora_recipes.report.inputs import Drawn, Inputs, Photo

LONG_STRIP = 3
"""A strip of more pictures than this takes a row of the page for itself."""

NAMES = {BASE: "Base", FINAL: "Adapter"}
KINDS = {BASE: "base", FINAL: "adapter"}


@dataclass(frozen=True)
class Shown:
    """One picture, with its name and its classes in the style: base, adapter or snapshot, best."""

    drawn: Drawn
    image: Embedded
    name: str
    kind: str


@dataclass(frozen=True)
class Yours:
    """The user's own picture that is nearest to a prompt."""

    photo: Photo
    image: Embedded


@dataclass(frozen=True)
class Card:
    """A prompt with a strip of pictures for each seed."""

    prompt: str
    strips: list[list[Shown]]
    yours: Yours | None
    """None where the prompt is of other things."""

    @property
    def wide(self) -> bool:
        """Whether it takes a row of the page for itself."""
        return any(len(strip) > LONG_STRIP for strip in self.strips)


def cards(inputs: Inputs) -> list[Card]:
    """All sample pictures, in the order of the recipe's prompts and seeds."""
    side = side_for(len(inputs.drawn) + len({one.row for one in inputs.drawn}))
    chosen, names = best(inputs), adapter_names(inputs)
    photos = [photo for photo in inputs.photos if photo.role == HELDOUT]
    photos = photos or [photo for photo in inputs.photos if photo.role == TRAIN]
    trigger = inputs.resolved["dataset"].get("trigger", "none")

    def shown(one: Drawn) -> Shown:
        kind = KINDS.get(one.adapter, "snapshot")
        kind += " best" if one.adapter == chosen else ""
        return Shown(one, embed(one.path, side), names[one.adapter], kind)

    def yours(prompt: str) -> Yours | None:
        if not photos or (trigger != "none" and trigger.lower() not in prompt.lower()):
            return None
        photo = _nearest(prompt, photos)
        return Yours(photo, embed(photo.path, side))

    found = []
    for _, row in groupby(inputs.drawn, key=lambda one: one.row):
        strips = [[*map(shown, strip)] for _, strip in groupby(row, key=lambda one: one.seed)]
        prompt = strips[0][0].drawn.prompt
        found.append(Card(prompt, strips, yours(prompt)))
    return found


def adapter_names(inputs: Inputs) -> dict[str, str]:
    """What the page calls the base, each snapshot ("Step 100 (50 %)") and the adapter."""
    last = inputs.steps[-1].step
    return {
        BASE: NAMES[BASE],
        **{n: _share(n, last) for n in inputs.snapshots},
        FINAL: NAMES[FINAL],
    }


def drawn_size(inputs: Inputs) -> tuple[int, int] | None:
    """Width and height that the pictures were drawn in, pixels; all have one size."""
    if not inputs.drawn:
        return None
    with Image.open(inputs.drawn[0].path) as image:
        return image.size


def _nearest(prompt: str, photos: Sequence[Photo]) -> Photo:
    """The picture whose caption shares the most words with a prompt; the first of equals."""
    words = set(prompt.lower().split())
    return max(photos, key=lambda photo: len(words & set(photo.caption.lower().split())))


def _share(name: str, last: int) -> str:
    step = step_of(name, last)
    return f"Step {step:,} ({100 * step / last:.0f}\u202f%)"
