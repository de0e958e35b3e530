"""Adafactor on stacks of matrices, equal to transformers' to the bit.

Shazeer & Stern 2018, arXiv:1804.04235, algorithm 4, in the semantics of transformers: means where
the paper has sums (its factor cancels out), an optional first moment, decoupled weight decay.

N: matrices of a stack, R: rows, C: columns. A 1×1 convolution's matrices have two axes of length
1 at the end, [N, out, in, 1, 1], and by transformers' rule these are its R and C. The paper's
letters are kept in the docstrings: G gradient, V second moment, U update, X weight, t step.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from lora_recipes.recipe.schedule import relative_step
from lora_recipes.train.optim.stacked import StackedOptimizer, Weights

MOMENTS = ("rows", "columns", "mean")
"""What is kept of each weight's gradients, besides the number of steps."""

AT_ONCE = 2**20
"""Weights of a stack that go through the formula together: their temporaries fit a CPU's cache.

On a GPU, where a launch costs more than a read, whole stacks go through at once.
"""


def beta2(step: int | Tensor, decay_rate: float) -> float | Tensor:
    """How much of the second moment is kept: 1 - t ** decay_rate. Section 7.2."""
    kept: float | Tensor = 1.0 - step**decay_rate
    return kept


def root_mean_square(x_NRC: Tensor) -> Tensor:
    """RMS of each matrix, [N, 1, 1]. Section 6.

    One norm over the flat matrix, as `norm()` of a single tensor is computed: the same bits.
    """
    norm_N = torch.linalg.vector_norm(x_NRC.flatten(1), dim=1)
    return (norm_N / math.prod(x_NRC.shape[1:]) ** 0.5).view(-1, *[1] * (x_NRC.ndim - 1))


def accumulate(
    rows_NR: Tensor, columns_NC: Tensor, gradient_NRC: Tensor, kept: float | Tensor, eps: float
) -> None:
    """Update the moving means of G² + eps along rows and columns, in place. Algorithm 4, lines 5-6.

    Args:
        rows_NR: [N, R] the mean of each row.
        columns_NC: [N, C] the mean of each column.
        gradient_NRC: [N, R, C].
        kept: the share of the old means, `beta2`.
        eps: the paper's epsilon 1, which keeps a moment above 0.
    """
    squares_NRC = (gradient_NRC**2).add_(eps)
    for mean, squares in (
        (rows_NR, squares_NRC.mean(dim=-1)),
        (columns_NC, squares_NRC.mean(dim=-2)),
    ):
        if isinstance(kept, Tensor):  # the same bits without asking the device for the number
            mean.mul_(kept.float()).addcmul_(squares, (1.0 - kept).float())
        else:
            mean.mul_(kept).add_(squares, alpha=1.0 - kept)


def normalised(rows_NR: Tensor, columns_NC: Tensor, gradient_NRC: Tensor) -> Tensor:
    """U = G / √V with V = rows · columns / mean(rows), of rank 1. Algorithm 4, lines 7-8."""
    rows_NR1 = (rows_NR / rows_NR.mean(dim=-1, keepdim=True)).rsqrt_().unsqueeze(-1)
    columns_N1C = columns_NC.unsqueeze(-2).rsqrt()
    return torch.mul(rows_NR1, columns_N1C).mul_(gradient_NRC)


def clip_(update_NRC: Tensor, threshold: float) -> Tensor:
    """U / max(1, RMS(U) / threshold), matrix by matrix, in place. Algorithm 4, line 9."""
    return update_NRC.div_((root_mean_square(update_NRC) / threshold).clamp_(min=1.0))


def scaled_rates(
    weight_NRC: Tensor, rate: float | Tensor, decay: float, smallest: float
) -> tuple[Tensor, Tensor]:
    """alpha = max(smallest, RMS(X)) · rate, and how much is added in decay. Algorithm 4, line 3.

    Where `smallest` wins, transformers multiplies Python's floats (64 bits) and rounds once;
    where the RMS wins, the device's (32 bits). Both are computed, neither waits for the device.

    Returns:
        [N, 1, 1] alpha and [N, 1, 1] -decay · alpha.
    """
    size_N11 = root_mean_square(weight_NRC)
    measured, larger = size_N11 * rate, size_N11 > smallest
    alpha_N11 = torch.where(larger, measured, smallest * rate)
    return alpha_N11, torch.where(larger, -decay * measured, -decay * (smallest * rate))


def decay_(weight_NRC: Tensor, change: float | Tensor) -> None:
    """X + change · X, rounded once, in place: Loshchilov & Hutter 2017, arXiv:1711.05101."""
    if isinstance(change, Tensor):
        weight_NRC.addcmul_(weight_NRC, change)
    elif change:
        weight_NRC.add_(weight_NRC, alpha=change)


class Adafactor(StackedOptimizer):
    """transformers' Adafactor, for parameters that may be stacked: two or more axes each.

    No step waits for the device, and the number of operations is that of the shapes.
    """

    def __init__(
        self,
        weights: Weights,
        lr: float | None,
        *,
        eps: tuple[float, float],
        clip_threshold: float,
        decay_rate: float,
        beta1: float | None,
        weight_decay: float,
        scale_parameter: bool,
        relative_step: bool,
        warmup_init: bool,
    ) -> None:
        """Take over the weights. `lr` is None exactly if `relative_step` finds it."""
        assert (lr is None) == relative_step
        settings = {
            "lr": lr,
            "eps": eps,
            "clip_threshold": clip_threshold,
            "decay_rate": decay_rate,
            "beta1": beta1,
            "weight_decay": weight_decay,
            "scale_parameter": scale_parameter,
            "relative_step": relative_step,
            "warmup_init": warmup_init,
        }
        super().__init__(self.stacked(weights), settings)

    @torch.no_grad()
    def update(self) -> None:
        """One step of every stack, or none where fp16's gradients overflowed.

        Whether they did, torch's GradScaler says on the device, by `found_inf`. So that nobody
        waits for it, steps are counted there too, and one too many is taken back.
        """
        overflow = getattr(self, "found_inf", None)
        for group in self.param_groups:
            for weight in group["params"]:
                state = self.state[weight]
                if not state:
                    state.update(self.fresh(weight, group))
                taken = state["step"] if overflow is None else _on_device(state["step"], weight)
                for part in _parts(weight):
                    some = weight[part]
                    moments = {k: v[part] for k, v in state.items() if k in MOMENTS}
                    changed = [some, *moments.values()]
                    before = [] if overflow is None else [value.clone() for value in changed]
                    _update(some, weight.grad[part], taken + 1, moments, group)
                    for value, old in zip(changed, before, strict=bool(before)):
                        value.copy_(torch.where(overflow > 0, old, value))
                state["step"] = taken + 1 if overflow is None else taken + (overflow == 0)

    def fresh(self, weight: Tensor, group: dict[str, Any]) -> dict[str, Any]:
        """As of `StackedOptimizer`."""
        state = {
            "step": 0,
            "rows": torch.zeros_like(weight[..., 0]),
            "columns": torch.zeros_like(weight[..., 0, :]),
        }
        return state if group["beta1"] is None else state | {"mean": torch.zeros_like(weight)}


def _on_device(step: int | Tensor, weight: Tensor) -> Tensor:
    """A number of steps beside a weight, as exact as Python's where the device can."""
    dtype = torch.float32 if weight.device.type == "mps" else torch.float64
    return torch.as_tensor(step, dtype=dtype, device=weight.device)


def _least(most: float | Tensor, value: Tensor) -> Tensor:
    return value.clamp(max=most)


def _parts(weight_NRC: Tensor) -> list[slice]:
    """The stack cut along N. A matrix's bits depend on no other, so the cuts change none."""
    count, *shape = weight_NRC.shape
    most = max(1, AT_ONCE // math.prod(shape)) if weight_NRC.device.type == "cpu" else count
    return [slice(start, start + most) for start in range(0, count, most)]


def _update(
    weight: Tensor,
    gradient: Tensor,
    step: int | Tensor,
    moments: dict[str, Tensor],
    group: dict[str, Any],
) -> None:
    """Algorithm 4 from top to bottom, for [N, …, R, C] weights, in place."""
    rate, decay = group["lr"], group["weight_decay"]
    alpha: float | Tensor
    change: float | Tensor
    if group["relative_step"]:
        on_device = (torch.sqrt, _least) if isinstance(step, Tensor) else ()
        rate = relative_step(step, group["warmup_init"], *on_device)
    if group["scale_parameter"]:
        alpha, change = scaled_rates(weight, rate, decay, group["eps"][1])
    else:
        alpha, change = rate, -decay * rate

    kept = beta2(step, group["decay_rate"])
    accumulate(moments["rows"], moments["columns"], gradient, kept, group["eps"][0])
    update = normalised(moments["rows"], moments["columns"], gradient)
    update = clip_(update, group["clip_threshold"]).mul_(alpha)
    if group["beta1"] is not None:
        mean = moments["mean"].mul_(group["beta1"])
        update = mean.add_(update, alpha=1 - group["beta1"])

    if decay:
        decay_(weight, change)
    weight.sub_(update)
