"""What the time of an optimizer step depends on, and how much there is to compute in it."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from pathlib import Path

from lora_recipes.plan.shapes import unet_config
from lora_recipes.recipe.counts import prior_batch_size
from lora_recipes.recipe.sections.base import Base
from lora_recipes.recipe.sections.compute import Checkpointing, Compute
from lora_recipes.recipe.sections.lora import Lora
from lora_recipes.recipe.sections.prepare import Prepare
from lora_recipes.recipe.sections.train import Train
from lora_recipes.recipe.size import size_of

SDXL_UNET = "320-640-1280/1-2-10"

FORWARD = (6.222, 0.539)
"""TFLOP of SDXL's UNet for one picture of 1024²: what grows with the area, and the self-attention,
which grows with its square. Counted from its config, within 1 % at 1024, 768 and 512."""

STEP = {
    ("attention", False): (2.139, 0.00113),
    ("attention", True): (2.895, 0.00151),
    ("attention", "feed_forward"): (2.416, 0.00114),
    ("transformer", False): (2.139, 0.00253),
    ("transformer", True): (2.895, 0.00770),
    ("transformer", "feed_forward"): (2.557, 0.00292),
}
"""Forward, back and the adapter, in forward passes: without a rank, and for each unit of it. By
`lora.targets` and gradient checkpointing. Counted from SDXL's config; for rank 8 to 128."""

SIZES = (
    "pixels",
    "batch",
    "prior",
    "prior_pixels",
    "accumulation",
    "rank",
    "targets",
    "checkpointing",
    "optimizer",
)
"""What may differ between two shapes whose times tell something about one another."""


@dataclass(frozen=True)
class Shape:
    """What decides how long a step takes, besides the code."""

    device: str
    threads: int
    processes: int
    """That train together, on all machines."""
    unet: str
    """The widths and depths of the UNet's blocks: models of one architecture are equally fast."""
    pixels: int
    batch: int
    accumulation: int
    rank: int
    targets: str
    checkpointing: Checkpointing
    precision: str
    attention: str
    deterministic: bool
    optimizer: str
    adapter_precision: str = "fp32"
    prior: int = 0
    """Samples of the regularization batch beside each batch; 0 without any."""
    prior_pixels: int = 0
    """Of one of its samples on average; 0 where they have as many as the subject's."""

    @property
    def work(self) -> float:
        """TFLOP of one optimizer step, if it is SDXL's UNet; else good for ratios only."""
        once, each_rank = STEP[self.targets, self.checkpointing]
        passes = self.batch * forward(self.pixels)
        passes += self.prior * forward(self.prior_pixels or self.pixels)
        return passes * (once + each_rank * self.rank) * self.accumulation

    def comparable(self, other: Shape) -> bool:
        """Whether the other's time tells something about this one's: all but the sizes agree."""
        return self == replace(other, **{size: getattr(self, size) for size in SIZES})


def forward(pixels: int) -> float:
    """TFLOP of SDXL's UNet for one picture of so many pixels."""
    area = pixels / 1024**2
    return FORWARD[0] * area + FORWARD[1] * area**2


def prior_batch(folder: str, images: int, train: Train) -> int:
    """Samples of the regularization batch beside each batch; 0 where none are trained on.

    Args:
        folder: `dataset.regularization`.
        images: `prior.images`.
        train: the section of the recipe.
    """
    if not train.prior_loss_weight or (folder == "none" and not images):
        return 0
    return prior_batch_size(train)


def shape_of(  # noqa: PLR0917
    base: Base,
    prepare: Prepare,
    lora: Lora,
    train: Train,
    compute: Compute,
    device: str,
    root: Path,
    processes: int = 1,
    prior: int = 0,
) -> Shape:
    """The shape of a recipe's steps.

    Args:
        device: the model, as `Device.name` has it.
        root: the project's folder, to look into a local base model's config.
        processes: that train together.
        prior: samples of the regularization batch beside each batch.
    """
    config = unet_config(base.model, root)
    return Shape(
        device=device,
        threads=compute.threads,
        processes=processes,
        unet=f"{_joined(config['block_out_channels'])}/"
        f"{_joined(config['transformer_layers_per_block'])}",
        pixels=math.prod(size_of(prepare.resolution)),
        batch=train.batch_size,
        accumulation=train.gradient_accumulation,
        rank=lora.rank,
        targets=lora.targets,
        checkpointing=compute.gradient_checkpointing,
        precision=compute.precision,
        attention=compute.attention,
        deterministic=compute.deterministic,
        optimizer=train.optimizer,
        adapter_precision=compute.adapter_precision,
        prior=prior,
    )


def _joined(numbers: list[int] | int) -> str:
    return "-".join(map(str, numbers if isinstance(numbers, list) else [numbers]))
