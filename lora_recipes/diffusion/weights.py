"""How much each sample's error counts: the loss weightings, by their word in a recipe.

A weighting sees the share of signal against noise and what the model predicts, never a timestep.

B: samples of a batch.
"""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from lora_recipes.recipe.sections.train import Train

Weight = Callable[[Tensor, str], Tensor]
"""From [B] signal to noise (`noise.signal_to_noise`) and the prediction to [B] weights, >= 0."""

WEIGHTS: dict[str, Callable[[Train], Weight | None]] = {
    "none": lambda train: None,  # every sample counts alike: nothing is multiplied
}
"""The weighting of each word, with its settings of the recipe bound."""


def weight_of(train: Train) -> Weight | None:
    """The recipe's weighting. With one word only, no key chooses."""
    return WEIGHTS["none"](train)
