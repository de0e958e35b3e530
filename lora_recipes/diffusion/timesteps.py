"""How noisy each sample is made: the distributions of the timestep, by their word in a recipe.

B: samples of a batch.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from torch import Tensor

from lora_recipes.diffusion import draws
from lora_recipes.recipe.sections.train import Train

Timesteps = Callable[[int, int, Sequence[draws.Position]], Tensor]
"""From the number of timesteps, the seed and [B] positions to [B] int64 timesteps, on the CPU."""


def uniform(steps: int, seed: int, positions: Sequence[draws.Position]) -> Tensor:
    """Every timestep equally likely, as in the original training of SDXL.

    Args:
        steps: how many timesteps the scheduler was trained with (SDXL: 1000).
        seed: the recipe's seed.
        positions: [B] where each sample stands.

    Returns:
        [B] int64 on the CPU, 0 (nearly clean) … steps - 1 (nearly noise).

    Source: Ho et al. 2020, arXiv:2006.11239, algorithm 1.
    """
    return draws.integers(steps, seed, "timestep", positions)


TIMESTEPS: dict[str, Callable[[Train], Timesteps]] = {"uniform": lambda train: uniform}
"""The distribution of each word, with its settings of the recipe bound."""


def timesteps_of(train: Train) -> Timesteps:
    """The recipe's distribution. With one word only, no key chooses."""
    return TIMESTEPS["uniform"](train)
