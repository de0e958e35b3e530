"""What a training minimises: the pure functions that its recipe chose, and what its base is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeVar

from torch import Tensor

from lora_recipes.diffusion.losses import Loss, loss_of, masked_mean
from lora_recipes.diffusion.noise import Noise, noise_of, signal_to_noise
from lora_recipes.diffusion.timesteps import Timesteps, timesteps_of
from lora_recipes.diffusion.weights import Weight, weight_of
from lora_recipes.recipe.sections.section import Off, Section
from lora_recipes.recipe.sections.train import Train

AnySection = TypeVar("AnySection", bound=Section)


@dataclass(frozen=True)
class Pretraining:
    """What the base model was trained for."""

    alphas_cumprod_T: Tensor
    """The share of signal left at each timestep, float32."""
    latent_scale: float
    """The VAE's scaling_factor."""
    prediction: str
    """What the model is asked for: `epsilon` or `v_prediction`."""


@dataclass(frozen=True)
class Objective:
    """The chosen noise, timesteps, loss and weighting, each a word in a table of `diffusion/`."""

    train: Train
    base: Pretraining
    noise: Noise
    timesteps: Timesteps
    loss: Loss
    weight: Weight | None

    @classmethod
    def of(cls, train: Train, base: Pretraining) -> Objective:
        """What a recipe asks for."""
        return cls(
            train=train,
            base=base,
            noise=noise_of(train),
            timesteps=timesteps_of(train),
            loss=loss_of(train),
            weight=weight_of(train),
        )

    def plain(self) -> Objective:
        """The same base with every key at its `Off` and seed 0: figures that can be compared."""
        return Objective.of(_all_off(self.train).model_copy(update={"seed": 0}), self.base)

    def mean(self, error_BCHW: Tensor, mask_B1HW: Tensor | None) -> Tensor:
        """[B] each sample's mean error over what counts of it; None counts all of it.

        A mask of ones would give the same number with other last bits, so there is none then.
        """
        if mask_B1HW is None:
            return error_BCHW.mean(dim=(1, 2, 3))
        masked = self.train.masked_loss
        return masked_mean(
            error_BCHW, mask_B1HW, masked.unmasked_weight, normalize=masked.normalize
        )

    @property
    def seed(self) -> int:
        """Where the chance of training starts."""
        return self.train.seed

    def weigh(self, error_B: Tensor, abar_B: Tensor) -> Tensor:
        """[B] what each sample's mean error counts; without a weighting the errors themselves."""
        if self.weight is None:
            return error_B
        return self.weight(signal_to_noise(abar_B), self.base.prediction) * error_B


def _all_off(section: AnySection) -> AnySection:
    """A section with every key that has an `Off` at it, those of its sub-sections too."""
    off: dict[str, Any] = {}
    for name, field in type(section).model_fields.items():
        value = getattr(section, name)
        frozen = [item.value for item in field.metadata if isinstance(item, Off)]
        if frozen:
            off[name] = frozen[0]
        elif isinstance(value, Section):
            off[name] = _all_off(value)
    return section.model_copy(update=off)
