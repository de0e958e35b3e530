"""How many samples, batches and optimizer steps a training has: counted here and nowhere else.

`plan`, the rules that need the number of images, and the train stage's own stream all ask `cut`,
so none of them can foretell another length than the one that is trained.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from lora_recipes.errors import Problem
from lora_recipes.recipe.sections.train import Train
from lora_recipes.recipe.size import Size


@dataclass(frozen=True)
class Counts:
    """The length of a training."""

    epochs: float
    """How often the data with their repeats are gone through."""
    samples: int
    batches: int
    steps: int
    """Optimizer steps; the last one may hold fewer batches."""


def cut(  # noqa: PLR0917
    repeats: Sequence[int],
    samples: int,
    batch_size: int,
    accumulation: int,
    shapes: Sequence[Size] = (),
    full_batches: bool = False,
) -> Counts:
    """Cut a stream of samples into batches and optimizer steps.

    The samples of all epochs form one continuous stream: epochs cut neither batches nor
    accumulation windows. A batch holds pictures of one shape, and waits until it is full; what is
    left of each shape at the end of the training makes a short batch.

    Args:
        repeats: how often each picture is seen in an epoch; their sum is the epoch's length.
        samples: of the whole training; the last epoch may be cut. With several shapes, whole epochs
            or full batches.
        batch_size: samples of a full batch.
        accumulation: batches of a full optimizer step.
        shapes: the size of each picture of `repeats`; empty where all have the same.
        full_batches: whether the samples are as many as full batches hold. Then none is short.
    """
    epochs = samples / max(1, sum(repeats))
    batches = math.ceil(samples / batch_size)
    if len({*shapes}) > 1 and not full_batches:
        seen: Counter[Size] = Counter()
        for shape, times in zip(shapes, repeats, strict=True):
            seen[shape] += times
        assert samples % sum(repeats) == 0, "a training of epochs has whole ones"
        passes = samples // sum(repeats)
        batches = sum(math.ceil(times * passes / batch_size) for times in seen.values())
    return Counts(epochs, samples, batches, math.ceil(batches / accumulation))


def count(repeats: Sequence[int], train: Train, shapes: Sequence[Size] = ()) -> Counts:
    """The length of a recipe's training.

    >>> count([1] * 50, Train(repeats=10, epochs=2))
    Counts(epochs=2.0, samples=1000, batches=1000, steps=250)

    Args:
        repeats: [pictures] how often each picture's own folder repeats it, mostly 1.
        train: the section of a recipe.
        shapes: [pictures] the size that each is trained at; empty where all have the same.
    """
    times = [own * train.repeats for own in repeats]
    by_steps = train.steps != "auto"
    if train.steps == "auto":
        assert train.epochs != "auto", "a rule of the recipe: one of epochs and steps is a number"
        samples = sum(times) * train.epochs
    else:
        samples = train.steps * window(train)
    return cut(times, samples, train.batch_size, train.gradient_accumulation, shapes, by_steps)


def prior_batch_size(train: Train) -> int:
    """Samples of a full batch of regularization pictures."""
    return train.batch_size if train.prior_batch_size == "auto" else train.prior_batch_size


def window(train: Train) -> int:
    """Samples in one full optimizer step."""
    return train.batch_size * train.gradient_accumulation


def too_few_samples(repeats: Sequence[int], train: Train) -> Problem | None:
    """The problem of a training that ends before its first full step."""
    samples = count(repeats, train).samples
    if samples >= window(train):
        return None
    return Problem(
        what=f"zero full optimizer steps: {sum(repeats)} images × {train.repeats} repeats × "
        f"{train.epochs} epochs = {samples} samples",
        allowed=f"at least batch_size {train.batch_size} × gradient_accumulation "
        f"{train.gradient_accumulation} = {window(train)} samples",
        fix="raise train.repeats or train.epochs, or lower train.gradient_accumulation",
    )
