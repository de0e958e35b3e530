"""Chance as a function of position: every sample of every epoch has its own stream per purpose.

Nothing here is global, and nothing depends on the batch, the worker or what was drawn before. So
switching one feature on moves no other draw, and a resumed run draws what the unbroken one drew.
Draws are made on the CPU, in float32, whatever the device and the precision of the model.

B: samples of a batch.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from lora_recipes.hashing import counter

Position = tuple[int, ...]
"""Where a sample stands: (epoch, index in the stream). Any tuple of integers will do."""


def generator(seed: int, purpose: str, *position: int) -> torch.Generator:
    """A CPU stream that depends on nothing but its arguments.

    torch's CPU engine (mt19937) takes 32 bits of a seed, so two different positions share a
    stream with a probability of 2**-32: rare, and harmless where it happens.

    Args:
        seed: the recipe's seed.
        purpose: what is drawn: "noise", "offset", "timestep", "posterior", …
        position: for which sample, (epoch, index) in training.
    """
    return torch.Generator().manual_seed(counter(seed, purpose, *position) & 0xFFFF_FFFF)


def normal(shape: Sequence[int], seed: int, purpose: str, positions: Sequence[Position]) -> Tensor:
    """Standard normal numbers, one stream per sample.

    Args:
        shape: of one sample; () gives one number.
        seed: the recipe's seed.
        purpose: what is drawn.
        positions: [B] one position per sample.

    Returns:
        [B, *shape] float32 on the CPU, mean 0, standard deviation 1.
    """
    return torch.stack(
        [
            torch.randn(tuple(shape), generator=generator(seed, purpose, *where))
            for where in positions
        ]
    )


def integers(high: int, seed: int, purpose: str, positions: Sequence[Position]) -> Tensor:
    """Whole numbers, all equally likely, one stream per sample.

    Args:
        high: the first number that is not drawn.
        seed: the recipe's seed.
        purpose: what is drawn.
        positions: [B] one position per sample.

    Returns:
        [B] int64 on the CPU, in 0 … high - 1.
    """
    return torch.stack(
        [torch.randint(high, (), generator=generator(seed, purpose, *at)) for at in positions]
    )


def happens(rate: float, seed: int, purpose: str, position: Position) -> bool:
    """Whether something happens to one sample: never at a rate of 0, always at 1."""
    return bool(torch.rand((), generator=generator(seed, purpose, *position)) < rate)


def permutation(count: int, seed: int, purpose: str, *position: int) -> list[int]:
    """The numbers 0 … count - 1 in a drawn order, each order equally likely."""
    order: list[int] = torch.randperm(count, generator=generator(seed, purpose, *position)).tolist()
    return order
