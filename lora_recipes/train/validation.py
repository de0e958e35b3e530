"""Did it learn, did it forget: the training's own loss on other pictures, at fixed draws."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor

from lora_recipes.adapter.parts import Adapted
from lora_recipes.dataset.roles import CONTROL, HELDOUT
from lora_recipes.errors import Wording
from lora_recipes.train.data.batches import Batch, Pictures
from lora_recipes.train.data.stream import TrainingSample
from lora_recipes.train.module import Denoiser, Denoising
from lora_recipes.train.objective import Objective

DRAWS = 8
"""How often each picture is looked at, each time with other noise at another timestep."""

NO_EPOCH = -1
"""These samples belong to no epoch, so no sample of the training shares their draws."""


def base_and_adapter(
    denoiser: Denoiser,
    adapted: Adapted,
    objective: Objective,
    pictures: Pictures,
    batch_size: int,
) -> dict[str, float]:
    """The mean loss of the base and of the adapter, on the same pictures, noise and timesteps.

    Neither the draws nor the loss depend on what the recipe chose, so figures of different recipes
    can be compared.
    """
    plain = objective.plain()
    losses = {}
    for name, on in (("base", False), ("adapter", True)):
        with adapted.enabled(on):
            losses[name] = mean_loss(denoiser, plain, pictures, batch_size)
    return losses


def change(figures: Mapping[str, Any]) -> Wording:
    """What the adapter did to the loss on pictures that were never trained on, in words.

    Args:
        figures: of train.json: `heldout_loss` and `heldout_loss_base`, and so on.
    """
    names = {HELDOUT: "held-out", CONTROL: "control"}
    changes = []
    for role, name in names.items():
        base = figures.get(f"{role}_loss_base")
        if base:
            changes.append(f"{name} loss {figures[f'{role}_loss'] / base - 1:+.0%}")
    return f"against the base alone: {', '.join(changes) or 'no change known'}"


@torch.no_grad()
def mean_loss(
    denoiser: Denoiser, objective: Objective, pictures: Pictures, batch_size: int
) -> float:
    """The mean training loss over `DRAWS` looks at each picture, whatever their shapes."""
    device = next(denoiser.parameters()).device
    sums: list[Tensor] = []

    def add(batch: Batch, loss: Tensor) -> None:
        sums.append(loss * len(batch.positions))

    training = Denoising(denoiser, objective, add).to(device)
    for samples in _looks(pictures, batch_size):
        training.training_step(pictures.batch(samples).to(device), 0)
    return float(torch.stack(sums).cpu().double().sum()) / (len(pictures) * DRAWS)


def _looks(pictures: Pictures, batch_size: int) -> Iterator[list[TrainingSample]]:
    """`DRAWS` looks at each picture, in batches of one shape, the shapes as they come."""
    by_shape: dict[tuple[int, int], list[TrainingSample]] = {}
    for number, image in enumerate(pictures.images):
        by_shape.setdefault(image.size, []).extend(
            TrainingSample(NO_EPOCH, number * DRAWS + look, number) for look in range(DRAWS)
        )
    for samples in by_shape.values():
        for start in range(0, len(samples), batch_size):
            yield samples[start : start + batch_size]
