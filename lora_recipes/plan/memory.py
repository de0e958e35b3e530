"""How much memory a training takes, from counted figures; said with how sure they are."""

from __future__ import annotations

import math
from dataclasses import dataclass

from lora_recipes.plan.shapes import POCKET
from lora_recipes.recipe.model import Recipe
from lora_recipes.recipe.size import size_of

GIB = 2**30

SDXL_UNET = 2_567_463_684
"""Weights of SDXL's UNet, counted."""

ACTIVATIONS = {
    ("attention", False): int(5.337 * GIB),
    ("attention", True): int(0.511 * GIB),
    ("attention", "feed_forward"): int(3.189 * GIB),
    ("transformer", False): int(6.428 * GIB),
    ("transformer", True): int(0.672 * GIB),
    ("transformer", "feed_forward"): int(3.278 * GIB),
}
"""By `lora.targets` and gradient checkpointing: the most that is alive at once on the way forward
and back, for one picture of 1024² in bf16 at rank 32. Rank 128 needs up to 7 % more.

Counted on this project's own step by benchmarks/meta.py, whose ceilings hold it.
"""

_BYTES = {"fp32": 4, "bf16": 2, "fp16": 2}


@dataclass(frozen=True)
class Memory:
    """The parts of a training's memory, in bytes."""

    base: int
    """The frozen UNet. Text encoders and VAE are gone before training."""

    activations: int | None
    """What comes and goes in a step; None where it was never counted."""

    adapter: int
    """The adapter's weights and their gradients, in fp32, and the base's precision if wanted."""

    optimizer: int

    @property
    def total(self) -> int:
        """All parts that were counted."""
        return self.base + (self.activations or 0) + self.adapter + self.optimizer

    def __str__(self) -> str:
        parts = [("base", self.base), ("adapter", self.adapter), ("optimizer", self.optimizer)]
        if self.activations is not None:
            parts.insert(1, ("activations", self.activations))
        listed = ", ".join(f"{name} {gib(size)}" for name, size in parts)
        sure = (
            "counted from shapes, not measured; torch's own buffers come on top"
            if self.activations is not None
            else "without activations, which were not counted for this model"
        )
        return f"about {gib(self.total)} while training ({listed}; {sure})"


def estimate(recipe: Recipe, weights: int, pixels: int = 0) -> Memory:
    """The memory of a training.

    Args:
        recipe: valid.
        weights: how many weights the adapter has.
        pixels: of the largest batch, which holds pictures of the subject or for regularization; by
            default of one of the subject's at `prepare.resolution`.
    """
    pixels = pixels or recipe.train.batch_size * math.prod(size_of(recipe.prepare.resolution))
    bytes_each = _BYTES[recipe.compute.precision]
    rounded = recipe.compute.adapter_precision == "base" and recipe.compute.precision != "fp32"
    pocket = recipe.base.model == "pocket"
    unet = _pocket_weights() if pocket else SDXL_UNET
    return Memory(
        base=bytes_each * unet,
        activations=None if pocket else _activations(recipe, bytes_each, pixels),
        adapter=(2 * 4 + (bytes_each if rounded else 0)) * weights,
        optimizer=_optimizer(recipe, weights),
    )


def _activations(recipe: Recipe, bytes_each: int, pixels: int) -> int:
    """They grow with the batch's pixels and the size of a number."""
    one = ACTIVATIONS[recipe.lora.targets, recipe.compute.gradient_checkpointing]
    return int(one * pixels / 1024**2 * bytes_each / 2)


def _optimizer(recipe: Recipe, weights: int) -> int:
    """AdamW keeps two numbers per weight; Adafactor two per row and column, hardly any."""
    if recipe.train.optimizer == "adamw":
        return 2 * 4 * weights
    momentum = 0 if recipe.train.adafactor.beta1 == "none" else 4 * weights
    return momentum + 4 * weights // recipe.lora.rank


def _pocket_weights() -> int:
    """The pocket's UNet lies in fp16 in the package: two bytes a weight."""
    return sum(file.stat().st_size for file in POCKET.glob("*.safetensors")) // 2


def gib(size: int) -> str:
    """A size in GiB, or in MiB where it is small."""
    return f"{size / GIB:.1f} GiB" if size >= GIB / 10 else f"{size / 2**20:.1f} MiB"
