"""What happens at which optimizer step: the learning rate, and when snapshots are taken."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from lora_recipes.recipe.sections.train import Train

POLYNOMIAL_END = 1e-7
"""The learning rate that the polynomial schedule ends at, as transformers has it."""


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
        return float(relative_step(step + 1, train.adafactor.warmup_init))
    return train.learning_rate * schedule_factor(step, total, train)


def relative_step(
    step: Any,
    warmup: bool,
    root: Callable[[Any], Any] = math.sqrt,
    least: Callable[[Any, Any], Any] = min,
) -> Any:
    """Adafactor's relative step size, rho = min(1e-2 or a ramp of 1e-6 t, 1 / √t).

    Args:
        step: the paper's t, a whole number or a device's count; the first step has 1.
        warmup: whether it rises from near 0, `train.adafactor.warmup_init`.
        root: the square root of such a step.
        least: the lesser of a bound and such a step's value.

    Source: Shazeer & Stern 2018, arXiv:1804.04235, algorithm 6 and section 8.
    """
    return least(1e-6 * step if warmup else 1e-2, 1.0 / root(step))


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
