"""How noisy each sample is made: the distributions of the timestep.

B: samples of a batch.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from lora_recipes.diffusion import draws


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
