"""How many optimizer steps a training takes, and the learning rate at each of them.

The samples of all epochs form one continuous stream: epochs cut neither batches nor accumulation
windows. `images` always counts an image as often as its own `repeats` in the manifest say.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from lora_recipes.errors import Problem, UserError
from lora_recipes.recipe.sections.train import Train

POLYNOMIAL_END = 1e-7
"""The learning rate that the polynomial schedule ends at, as transformers has it."""


def window(train: Train) -> int:
    """Samples in one full optimizer step."""
    return train.batch_size * train.gradient_accumulation


def samples(images: int, train: Train) -> int:
    """How many samples the training sees in all.

    >>> samples(50, Train(repeats=10, epochs=2))
    1000
    """
    if train.steps != "auto":
        return train.steps * window(train)
    assert train.epochs != "auto", "a rule of the recipe: one of epochs and steps is a number"
    return images * train.repeats * train.epochs


def optimizer_steps(images: int, train: Train) -> int:
    """How many optimizer steps the training takes. The last one may hold fewer samples.

    Raises:
        UserError: the samples do not fill a single step.
    """
    total = samples(images, train)
    if total < window(train):
        raise UserError(too_few_samples(images, train))
    return math.ceil(total / window(train))


def too_few_samples(images: int, train: Train) -> Problem:
    """The problem of a training that ends before its first full step."""
    return Problem(
        what=f"zero full optimizer steps: {images} images × {train.repeats} repeats × "
        f"{train.epochs} epochs = {samples(images, train)} samples",
        allowed=f"at least batch_size {train.batch_size} × gradient_accumulation "
        f"{train.gradient_accumulation} = {window(train)} samples",
        fix="raise train.repeats or train.epochs, or lower train.gradient_accumulation",
    )


def snapshot_steps(total: int, train: Train) -> list[int]:
    """The steps after which the adapter is kept too: ascending, after 0 and before the last.

    Args:
        total: optimizer steps of the whole training.
    """
    steps = {round(fraction * total) for fraction in train.snapshots}
    return sorted(step for step in steps if 0 < step < total)


def learning_rate_at(step: int, total: int, train: Train) -> float:
    """The learning rate of one optimizer step, equal to transformers' `get_scheduler`.

    With `learning_rate: auto` it is Adafactor's own relative step size (before
    `scale_parameter`), which the optimizer finds itself: for drawing, not for setting.

    Args:
        step: optimizer steps already taken; the first step has 0.
        total: optimizer steps of the whole training.

    Source: transformers, optimization.py.
    """
    if train.learning_rate == "auto":
        return relative_step(step + 1, train.adafactor.warmup_init)
    return train.learning_rate * schedule_factor(step, total, train)


def relative_step(step: int, warmup: bool) -> float:
    """Adafactor's relative step size, rho = min(1e-2 or a ramp of 1e-6 t, 1 / √t).

    Args:
        step: the paper's t; the first step has 1.
        warmup: whether it rises from near 0, `train.adafactor.warmup_init`.

    Source: Shazeer & Stern 2018, arXiv:1804.04235, algorithm 6 and section 8.
    """
    return min(1e-6 * step if warmup else 1e-2, 1.0 / math.sqrt(step))


def schedule_factor(step: int, total: int, train: Train) -> float:
    """The learning rate as a part of its peak, 0 to 1. For torch's LambdaLR.

    Args:
        step: optimizer steps already taken; the first step has 0.
        total: optimizer steps of the whole training.
    """
    warmup = 0 if train.scheduler == "constant" else train.warmup_steps
    if step < warmup:
        return step / warmup
    progress = (step - warmup) / max(1, total - warmup)
    return max(0.0, _CURVES[train.scheduler](progress, train))


def _half_waves(progress: float, train: Train) -> float:
    if progress >= 1:
        return 0.0
    return 0.5 * (1 + math.cos(math.pi * (train.restarts * progress % 1)))


def _power(progress: float, train: Train) -> float:
    assert train.learning_rate != "auto", "a rule of the recipe: polynomial needs a number"
    end = POLYNOMIAL_END / train.learning_rate
    return (1 - end) * float((1 - min(1.0, progress)) ** train.power) + end


_CURVES: dict[str, Callable[[float, Train], float]] = {
    "constant": lambda progress, train: 1.0,
    "constant_with_warmup": lambda progress, train: 1.0,
    "linear": lambda progress, train: 1 - progress,
    "cosine": lambda progress, train: 0.5 * (1 + math.cos(math.pi * progress)),
    "cosine_with_restarts": _half_waves,
    "polynomial": _power,
}
