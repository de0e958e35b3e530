"""The optimizers and the schedule, exactly as the recipe sets them."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

from lora_recipes.recipe.schedule import learning_rate_at
from lora_recipes.recipe.sections.train import Train
from lora_recipes.train.optim.adafactor import Adafactor
from lora_recipes.train.optim.stacked import StackedOptimizer, Weights


class AdamW(StackedOptimizer, torch.optim.AdamW):
    """torch's AdamW on stacks, each updated by one fused operation."""

    def __init__(
        self,
        weights: Weights,
        *,
        betas: tuple[float, float],
        eps: float,
        weight_decay: float,
    ) -> None:
        """Take over the weights."""
        super().__init__(
            self.stacked(weights),
            lr=1.0,
            betas=betas,
            eps=eps,
            weight_decay=weight_decay,
            fused=True,
        )

    def fresh(self, weight: Tensor, group: dict[str, Any]) -> dict[str, Any]:
        """As of `StackedOptimizer`."""
        moments = {name: torch.zeros_like(weight) for name in ("exp_avg", "exp_avg_sq")}
        return {"step": torch.zeros((), dtype=torch.float32), **moments}


def build_optimizer(weights: Weights, train: Train) -> StackedOptimizer:
    """The recipe's optimizer. Its own rate is 1: `build_schedule` multiplies the real one in.

    The weights become views of stacks: see `lora_recipes.train.optim.stacked`.

    Source: Shazeer and Stern 2018, arXiv:1804.04235 (Adafactor), in the semantics of
    transformers; Loshchilov and Hutter 2017, arXiv:1711.05101 (AdamW, decoupled decay).
    """
    if train.optimizer == "adamw":
        settings = train.adamw
        return AdamW(
            weights,
            betas=(settings.beta1, settings.beta2),
            eps=settings.eps,
            weight_decay=train.weight_decay,
        )
    chosen = train.adafactor
    return Adafactor(
        weights,
        lr=None if chosen.relative_step else 1.0,
        eps=(chosen.eps[0], chosen.eps[1]),
        clip_threshold=chosen.clip_threshold,
        decay_rate=chosen.decay_rate,
        beta1=None if chosen.beta1 == "none" else chosen.beta1,
        weight_decay=train.weight_decay,
        scale_parameter=chosen.scale_parameter,
        relative_step=chosen.relative_step,
        warmup_init=chosen.warmup_init,
    )


def build_schedule(optimizer: Optimizer, steps: int, train: Train) -> LambdaLR | None:
    """The rate of each of `steps` optimizer steps, or None where Adafactor sets its own."""
    if train.learning_rate == "auto":
        return None
    return LambdaLR(optimizer, lambda step: learning_rate_at(step, steps, train))
