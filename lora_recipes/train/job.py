"""A training as a value: all that it needs, and what it leaves behind."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import lightning
import torch

from lora_recipes.adapter.parts import Adapted
from lora_recipes.recipe.schedule import learning_rate_at
from lora_recipes.recipe.sections.runtime import Runtime
from lora_recipes.recipe.sections.train import Train
from lora_recipes.train.checkpoints import Checkpoints
from lora_recipes.train.data.batches import Pictures
from lora_recipes.train.data.prior_stream import AnyStream
from lora_recipes.train.distributed.ranks import World
from lora_recipes.train.module import Denoiser
from lora_recipes.train.objective import Objective


@dataclass(frozen=True)
class Job:
    """All that a training needs, ready to use: nothing here reads a recipe's file."""

    fabric: lightning.Fabric
    """Launched: the processes are there. It places batches and scales losses."""
    denoiser: Denoiser
    """On its device, with a fresh adapter."""
    adapted: Adapted
    """Its parts that have an adapter."""
    objective: Objective
    pictures: Pictures
    stream: AnyStream
    train: Train
    runtime: Runtime
    adapter_dtype: torch.dtype
    """The dtype of the adapter's matmuls; its weights are float32."""
    device: torch.device
    world: World
    """The processes that train together."""
    checkpoints: Checkpoints
    """Locked by the caller on the main process, the only one that uses them."""
    snapshots: frozenset[int]
    """The steps after which the adapter is kept too."""
    write_adapter: Callable[[Path, int | None], None]
    """Writes the adapter as it is to a file: a snapshot's step, or None at the end."""

    def rate(self, step: int) -> float:
        """The learning rate of a step, counted from 0."""
        return learning_rate_at(step, self.stream.steps, self.train)


@dataclass(frozen=True)
class Outcome:
    """What a training leaves behind, besides the adapter in the denoiser."""

    losses: list[float]
    """The mean loss of each optimizer step; of the subject's pictures, where there are others."""
    skipped: int
    """Steps whose gradients overflowed in fp16; 0 in other precisions."""
    resumed_at: int
    """The step that this process began after."""
    seconds: float
    """What this process took for its steps."""
    peak_bytes: int | None
    """The largest memory: the device's tensors, or on a CPU the whole process."""
    prior_losses: list[float] = field(default_factory=list)
    """The mean loss of each step's regularization pictures; empty where there are none."""
