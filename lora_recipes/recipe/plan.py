"""What a training will cost, counted before anything is loaded."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from lora_recipes.errors import UserError
from lora_recipes.recipe.load import Resolved
from lora_recipes.recipe.memory import Memory, estimate
from lora_recipes.recipe.rules import for_images
from lora_recipes.recipe.schedule import (
    learning_rate_at,
    optimizer_steps,
    samples,
    snapshot_steps,
    window,
)
from lora_recipes.recipe.sections.train import Train
from lora_recipes.recipe.shapes import adapted_shapes, unet_config, weights_per_rank

BLOCKS = "▁▂▃▄▅▆▇█"
COLUMNS = 48
HEADER_BYTES_PER_MODULE = 420
"""Names, shapes and offsets of its three tensors in the file's header."""


@dataclass(frozen=True)
class Length:
    """How long a training is."""

    images: int
    """Each counted as often as its own `repeats` say."""

    samples: int
    epochs: float
    """How often the data with their repeats are gone through."""

    steps: int
    snapshots: tuple[int, ...]
    """The steps after which the adapter is kept too."""


@dataclass(frozen=True)
class Plan:
    """What a training will cost. `str()` of it is what the CLI prints."""

    train: Train
    length: Length | None
    """None where the images could not be counted and `train.epochs` gives the length."""

    modules: int
    """Weights of the UNet that get an adapter."""

    rank: int
    file_bytes: int
    memory: Memory

    def __str__(self) -> str:
        return "\n".join(f"{name:14}{text}" for name, text in self._rows())

    def _rows(self) -> list[tuple[str, str]]:
        mib = self.file_bytes / 2**20
        rows = [
            *_length_rows(self.length, self.train),
            ("adapter", f"rank {self.rank} beside {self.modules} weights: {mib:.1f} MiB"),
            ("memory", str(self.memory)),
        ]
        if self.length is not None:
            rows.append(("learning rate", curve(self.length.steps, self.train)))
        return rows


def make_plan(resolved: Resolved, images: int | None, root: Path = Path()) -> Plan:
    """Count what a training will take.

    Args:
        resolved: the recipe with params.yaml laid over it.
        images: how many are trained on, each counted as often as its own `repeats` say; None
            where the data folder is not here.
        root: the project's folder, to look into a local base model's config.

    Raises:
        UserError: the recipe does not fit so few images.
    """
    recipe = resolved.recipe
    if images is not None:
        problems = for_images(recipe, images, resolved.where)
        if problems:
            raise UserError(problems)
    shapes = adapted_shapes(unet_config(recipe.base.model, root), recipe.lora.targets)
    weights = recipe.lora.rank * weights_per_rank(shapes)
    return Plan(
        train=recipe.train,
        length=_length(images, recipe.train),
        modules=len(shapes),
        rank=recipe.lora.rank,
        file_bytes=4 * (weights + len(shapes)) + HEADER_BYTES_PER_MODULE * len(shapes),
        memory=estimate(recipe, weights),
    )


def curve(steps: int, train: Train) -> str:
    """The learning rate over the training as a line of blocks, with its peak and its end.

    >>> curve(4, Train(scheduler="linear"))
    '█▆▅▃ peak 0.0001, last 2.5e-05'
    """
    rates = [learning_rate_at(step, steps, train) for step in range(steps)]
    columns = min(COLUMNS, steps)
    drawn = [rates[column * steps // columns] for column in range(columns)]
    peak = max(rates)
    blocks = "".join(BLOCKS[round(rate / peak * (len(BLOCKS) - 1))] for rate in drawn)
    return f"{blocks} peak {peak:g}, last {rates[-1]:g}"


def _length(images: int | None, train: Train) -> Length | None:
    if images is None:
        return None
    steps = optimizer_steps(images, train)
    seen = samples(images, train)
    return Length(
        images, seen, seen / (images * train.repeats), steps, tuple(snapshot_steps(steps, train))
    )


def _length_rows(length: Length | None, train: Train) -> list[tuple[str, str]]:
    if length is None:
        known = f"{train.steps} steps" if train.steps != "auto" else "not known"
        return [("length", f"{known}; the data folder is not here, so no images were counted")]
    rows = [
        (
            "samples",
            f"{_count(length.images, 'image')} × {_count(train.repeats, 'repeat')} × "
            f"{_count(length.epochs, 'epoch')} = {length.samples}",
        ),
        ("steps", f"{length.steps} optimizer steps of {window(train)} samples"),
    ]
    if length.snapshots:
        kept = ", ".join(map(str, length.snapshots))
        rows.append(("snapshots", f"after steps {kept}"))
    return rows


def _count(number: float, noun: str) -> str:
    return f"{number:g} {noun}" + ("" if number == 1 else "s")
