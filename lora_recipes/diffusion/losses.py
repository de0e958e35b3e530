"""How far the model's answer lies from its target: the losses, by their word in a recipe.

B: samples, C: latent channels, H, W: latent rows and columns.
"""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from lora_recipes.recipe.sections.train import Train

Loss = Callable[[Tensor, Tensor, Tensor], Tensor]
"""From [B, C, H, W] predicted and target and [B] share of signal to [B, C, H, W] errors, >= 0."""


def l2(predicted_BCHW: Tensor, target_BCHW: Tensor, abar_B: Tensor) -> Tensor:
    """The squared error, the same at every share of signal.

    Source: Ho et al. 2020, arXiv:2006.11239, equation 14.
    """
    return (predicted_BCHW - target_BCHW).square()


LOSSES: dict[str, Callable[[Train], Loss]] = {"l2": lambda train: l2}
"""The loss of each word, with its settings of the recipe bound."""


def loss_of(train: Train) -> Loss:
    """The recipe's loss. With one word only, no key chooses."""
    return LOSSES["l2"](train)
