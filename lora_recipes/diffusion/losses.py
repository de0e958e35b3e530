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


def masked_mean(
    error_BCHW: Tensor, mask_B1HW: Tensor, unmasked_weight: float, *, normalize: bool
) -> Tensor:
    """Each sample's mean error, where a pixel counts as much as its mask says.

    sum(w · e) / sum(w) with w = u + (1 - u) · m: the mean over what counts, however small it is.
    Without `normalize` the mean of w · e over all pixels, which grows with the area that counts.

    Args:
        error_BCHW: [B, C, H, W] float32, >= 0.
        mask_B1HW: [B, 1, H, W] float32 in [0, 1]; of no sample 0 everywhere.
        unmasked_weight: u, what a pixel counts outside the mask, 0 to 1.
        normalize: whether small and large areas count alike.

    Returns:
        [B] float32, >= 0. Where w is 0, the gradient is exactly 0.

    Source: Nerogar/OneTrainer, `unmasked_weight` and `normalize_masked_area_loss`.
    """
    weight_B1HW = unmasked_weight + (1 - unmasked_weight) * mask_B1HW
    mean_B = (weight_B1HW * error_BCHW).mean(dim=(1, 2, 3))
    return mean_B / weight_B1HW.mean(dim=(1, 2, 3)) if normalize else mean_B


LOSSES: dict[str, Callable[[Train], Loss]] = {"l2": lambda train: l2}
"""The loss of each word, with its settings of the recipe bound."""


def loss_of(train: Train) -> Loss:
    """The recipe's loss. With one word only, no key chooses."""
    return LOSSES["l2"](train)
