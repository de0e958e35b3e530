"""The arithmetic of scaling and cropping: whole numbers in, whole numbers out, no pixels."""

from __future__ import annotations

from dataclasses import dataclass

from lora_recipes.hashing import counter
from lora_recipes.recipe.cover import cover
from lora_recipes.recipe.size import Size


@dataclass(frozen=True)
class Placement:
    """How one picture becomes one training picture."""

    resized: Size
    """The picture's size after scaling, at least the target's on both axes."""

    top: int
    """Rows cut off above, in pixels of the resized picture."""

    left: int
    """Columns cut off at the left, in pixels of the resized picture."""


@dataclass(frozen=True)
class Cut:
    """What of a picture is cropped: pixels of the scaled picture, on one axis or on none."""

    resized: Size
    columns: int
    rows: int

    @property
    def share(self) -> float:
        """The part of the picture that is cropped, from 0 to less than 1."""
        width, height = self.resized
        return self.columns / width + self.rows / height

    def exceeds(self, step: int) -> bool:
        """Whether a step more or less on the picture's shorter side would not make up for it."""
        width, height = self.resized
        shorter = min(self.resized)
        return (self.columns * height + self.rows * width) * shorter >= step * width * height


def cut_off(size: Size, target: Size) -> Cut:
    """What is cropped where a picture is scaled to cover the target."""
    resized = cover(size, target)
    return Cut(resized, resized[0] - target[0], resized[1] - target[1])


def place(size: Size, target: Size, crop: str, seed: int, path: str) -> Placement:
    """Where the target lies in the scaled picture.

    Args:
        size: of the upright original.
        target: the training size.
        crop: `random`, drawn from the seed and the picture's manifest path alone; or the middle.
            `none` too, where it lets the few pixels go that a bucket leaves over.
    """
    resized = cover(size, target)
    spare_x, spare_y = resized[0] - target[0], resized[1] - target[1]
    if crop == "random":
        purpose = f"crop/{path}"
        top = counter(seed, purpose, 0) % (spare_y + 1)
        left = counter(seed, purpose, 1) % (spare_x + 1)
        return Placement(resized, top, left)
    return Placement(resized, spare_y // 2, spare_x // 2)
