"""Loss scaling for a base in fp16, whose small gradients would otherwise become zero."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from lightning.fabric.plugins import MixedPrecision, Precision
from torch import Tensor
from torch.optim import Optimizer


class LossScaling(MixedPrecision):
    """Fabric's loss scaling without autocast: the adapter computes in fp32 by itself.

    A step whose gradients overflow is skipped, and then the scale falls: `overflowed` says, on the
    device, whether the last one did. The scale is part of the checkpoint.

    Source: Micikevicius et al. 2017, arXiv:1710.03740, section 3.2.
    """

    def __init__(self, device: torch.device) -> None:
        super().__init__("16-mixed", device.type, torch.amp.GradScaler(device.type))
        self._one = torch.ones((), device=device)
        self.overflowed = torch.tensor(False, device=device)

    def forward_context(self) -> AbstractContextManager[Any]:
        """No autocast: each tensor has the type that it should have."""
        return nullcontext()

    def unscale_gradients(self, optimizer: Optimizer) -> None:
        """Bring the gradients to their own size, before they are looked at and clipped."""
        self._scaler.unscale_(optimizer)

    def optimizer_step(self, optimizer: Any, **kwargs: Any) -> None:
        """One step, or none where a gradient overflowed: then the scale falls."""
        before = self._scale()
        super().optimizer_step(optimizer, **kwargs)
        self.overflowed = self._scale() < before

    @property
    def _scaler(self) -> torch.amp.GradScaler:
        assert self.scaler is not None
        return self.scaler

    def _scale(self) -> Tensor:
        """The scale, where it lies: `get_scale` would wait for the device."""
        return self._scaler.scale(self._one)


def precision_for(dtype: torch.dtype, device: torch.device) -> Precision:
    """How losses become gradients, and gradients steps, beside a base of this dtype."""
    return LossScaling(device) if dtype == torch.float16 else Precision()
