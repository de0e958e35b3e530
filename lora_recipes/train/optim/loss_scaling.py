"""Loss scaling for a base in fp16, whose small gradients would otherwise become zero."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from lightning.pytorch.plugins.precision import MixedPrecision

from lora_recipes.errors import Problem, UserError

LARGEST_RUN_OF_SKIPS = 20
"""Steps in a row. A sound run skips a few while the scaler finds its scale, then hardly any."""


class LossScaling(MixedPrecision):
    """Lightning's loss scaling without autocast: the adapter computes in fp32 by itself.

    A step whose gradients overflow is skipped and counted. The scale and the counts are part of
    the checkpoint.

    Source: Micikevicius et al. 2017, arXiv:1710.03740, section 3.2.
    """

    def __init__(self, device: str) -> None:
        super().__init__("16-mixed", device, torch.amp.GradScaler(device))
        self.skipped = 0
        self.skipped_in_a_row = 0

    @contextmanager
    def forward_context(self) -> Iterator[None]:
        """No autocast: each tensor has the type that it should have."""
        yield

    def optimizer_step(
        self, optimizer: Any, model: Any, closure: Callable[[], Any], **kwargs: Any
    ) -> Any:
        """One step, or none where a gradient overflowed."""
        assert self.scaler is not None
        before = self.scaler.get_scale()
        result = super().optimizer_step(optimizer, model=model, closure=closure, **kwargs)
        self._count(self.scaler.get_scale() < before)
        return result

    def _count(self, skipped: bool) -> None:
        self.skipped += skipped
        self.skipped_in_a_row = self.skipped_in_a_row + 1 if skipped else 0

    def check(self, step: int, steps: int, images: list[str]) -> None:
        """Stop a training that moves nothing any more.

        Raises:
            UserError: too many steps in a row, or all to the end, were skipped.
        """
        if self.skipped_in_a_row >= min(LARGEST_RUN_OF_SKIPS, steps):
            raise UserError(
                Problem(
                    what=f"the gradients overflowed in {self.skipped_in_a_row} steps in a row, "
                    f"the last of them step {step + 1} of {steps}; images: {', '.join(images)}",
                    fix="set compute.precision to bf16 or fp32, or look at the base model's "
                    "weights",
                )
            )

    def state_dict(self) -> dict[str, Any]:
        """The scale, and how many steps were skipped."""
        return {
            "scaler": super().state_dict(),
            "skipped": self.skipped,
            "skipped_in_a_row": self.skipped_in_a_row,
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on with the scale and the counts of a checkpoint."""
        super().load_state_dict(state_dict["scaler"])
        self.skipped = state_dict["skipped"]
        self.skipped_in_a_row = state_dict["skipped_in_a_row"]
