"""How much each sample's error counts: the loss weightings, by their word in a recipe.

A weighting sees the share of signal against noise and what the model predicts, never a timestep.

B: samples of a batch.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from torch import Tensor

from lora_recipes.recipe.sections.train import Train

Weight = Callable[[Tensor, str], Tensor]
"""From [B] signal to noise (`noise.signal_to_noise`) and the prediction to [B] weights, >= 0."""


def min_snr(snr_B: Tensor, prediction: str, gamma: float) -> Tensor:
    """Loss weight per sample that stops nearly clean samples from dominating.

    min(SNR, gamma) is defined for the squared error of x0. The same mistake, seen in epsilon, is
    SNR times larger, and seen in v, SNR + 1 times; dividing keeps the three equal.

    Args:
        snr_B: [B] float, > 0. Schedules that end without any signal reach 0: only v can be used.
        prediction: `epsilon` or `v_prediction`.
        gamma: the cap, no unit.

    Returns:
        [B] float, >= 0; 0 only at zero SNR under `v_prediction`.

    Source: Hang et al. 2023, arXiv:2303.09556, section 3.4.
    """
    capped_B = snr_B.clamp(max=gamma)
    return capped_B / (snr_B if prediction == "epsilon" else snr_B + 1)


WEIGHTS: dict[str, Callable[[Train], Weight | None]] = {
    "none": lambda train: None,  # every sample counts alike: nothing is multiplied
    "min_snr": lambda train: partial(min_snr, gamma=train.snr_gamma),
}
"""The weighting of each word, with its settings of the recipe bound."""


def weight_of(train: Train) -> Weight | None:
    """The recipe's weighting, or None where it asks for none."""
    return WEIGHTS[train.loss_weighting](train)
