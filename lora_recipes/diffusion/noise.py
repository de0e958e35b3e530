"""The forward process of a diffusion model, as functions of tensors.

B: samples, C: latent channels, H, W: latent rows and columns (pixels / 8 in SDXL), T: timesteps.
abar: the share of the signal's variance that is left, alphas_cumprod; 1 clean, 0 pure noise.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import Tensor

from lora_recipes.errors import UserError
from lora_recipes.recipe.sections.train import Train

Draw = Callable[..., Tensor]
"""From a purpose and the shape of one sample to [B, *shape] standard normal numbers."""

Noise = Callable[[Draw, Sequence[int]], Tensor]
"""From draws and the shape of one sample, (C, H, W), to [B, C, H, W] noise."""


def alphas_cumprod(
    beta_start: float, beta_end: float, steps: int, schedule: str = "scaled_linear"
) -> Tensor:
    """The share of signal left at each timestep, for the `scaled_linear` schedule.

    beta is linear in its square root; abar_t is the product of 1 - beta_s over s <= t. Computed
    in float64 and rounded once, so that neither device nor precision moves the schedule.

    Args:
        beta_start: noise added by the first step (SDXL: 0.00085).
        beta_end: noise added by the last step (SDXL: 0.012).
        steps: the scheduler's num_train_timesteps (SDXL: 1000).
        schedule: the scheduler's beta_schedule.

    Returns:
        [T] float32, falling, in (0, 1).

    Raises:
        UserError: another schedule than `scaled_linear`.

    Source: Rombach et al. 2022, arXiv:2112.10752 (the schedule of latent diffusion);
    Ho et al. 2020, arXiv:2006.11239, equation 4 (the product).
    """
    if schedule != "scaled_linear":
        raise UserError.of(
            what=f"the base model's noise schedule is {schedule}",
            allowed="scaled_linear, as in SDXL 1.0",
            fix="choose a base model that was trained like SDXL 1.0",
        )
    beta_T = torch.linspace(beta_start**0.5, beta_end**0.5, steps, dtype=torch.float64) ** 2
    return torch.cumprod(1 - beta_T, dim=0).float()


def draw_latents(mean_BCHW: Tensor, std_BCHW: Tensor, scale: float, unit_BCHW: Tensor) -> Tensor:
    """A sample of the VAE's posterior, in the units that the UNet knows.

    Args:
        mean_BCHW: [B, C, H, W] float32, the posterior's mean.
        std_BCHW: [B, C, H, W] float32, its standard deviation.
        scale: the VAE's scaling_factor, which brings latents to about unit variance.
        unit_BCHW: [B, C, H, W] standard normal numbers.

    Returns:
        [B, C, H, W], variance about 1.

    Source: Kingma and Welling 2013, arXiv:1312.6114, section 2.4; Rombach et al. 2022,
    arXiv:2112.10752, appendix G (the scale).
    """
    return (mean_BCHW + std_BCHW * unit_BCHW) * scale


def offset_noise(unit_BCHW: Tensor, offset: float, unit_BC: Tensor) -> Tensor:
    """Noise whose mean varies by channel, so that a whole picture can be dark or bright.

    Args:
        unit_BCHW: [B, C, H, W] standard normal numbers.
        offset: the shift's standard deviation, no unit; 0 changes nothing.
        unit_BC: [B, C] standard normal numbers.

    Returns:
        [B, C, H, W], variance 1 + offset squared.

    Source: N. Guttenberg 2023, "Diffusion with offset noise", crosslabs.org.
    """
    return unit_BCHW + offset * unit_BC[:, :, None, None]


def gaussian(draw: Draw, shape: Sequence[int]) -> Tensor:
    """Independent standard normal numbers: [B, C, H, W]. Ho et al. 2020, arXiv:2006.11239."""
    return draw("noise", *shape)


def with_offset(draw: Draw, shape: Sequence[int], offset: float) -> Tensor:
    """`gaussian` noise with the offset of `offset_noise`, from a draw of its own."""
    return offset_noise(gaussian(draw, shape), offset, draw("offset", shape[0]))


NOISES: dict[str, Callable[[Train], Noise]] = {
    "gaussian": lambda train: gaussian,
    "offset": lambda train: partial(with_offset, offset=train.noise_offset),
}
"""The kinds of noise, with their settings of the recipe bound."""


def noise_of(train: Train) -> Noise:
    """The recipe's noise: its strength, not a word, says whether there is an offset."""
    return NOISES["offset" if train.noise_offset else "gaussian"](train)


def add_noise(latents_BCHW: Tensor, noise_BCHW: Tensor, abar_B: Tensor) -> Tensor:
    """What the model is shown: sqrt(abar) latents + sqrt(1 - abar) noise.

    Args:
        latents_BCHW: [B, C, H, W] clean latents, variance about 1.
        noise_BCHW: [B, C, H, W] noise.
        abar_B: [B] share of signal, in (0, 1).

    Returns:
        [B, C, H, W].

    Source: Ho et al. 2020, arXiv:2006.11239, equation 4.
    """
    abar_B111 = abar_B[:, None, None, None]
    return abar_B111.sqrt() * latents_BCHW + (1 - abar_B111).sqrt() * noise_BCHW


def velocity(latents_BCHW: Tensor, noise_BCHW: Tensor, abar_B: Tensor) -> Tensor:
    """What a v-prediction model is asked for: sqrt(abar) noise - sqrt(1 - abar) latents.

    Args:
        latents_BCHW: [B, C, H, W] clean latents, variance about 1.
        noise_BCHW: [B, C, H, W] noise.
        abar_B: [B] share of signal, in (0, 1).

    Returns:
        [B, C, H, W].

    Source: Salimans and Ho 2022, arXiv:2202.00512, appendix D.
    """
    abar_B111 = abar_B[:, None, None, None]
    return abar_B111.sqrt() * noise_BCHW - (1 - abar_B111).sqrt() * latents_BCHW


def signal_to_noise(abar_B: Tensor) -> Tensor:
    """Variance of the signal over variance of the noise: abar / (1 - abar).

    Args:
        abar_B: [B] share of signal, in (0, 1).

    Returns:
        [B], > 0.

    Source: Kingma et al. 2021, arXiv:2107.00630, equation 2.
    """
    return abar_B / (1 - abar_B)
