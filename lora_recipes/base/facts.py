"""What a base model's configuration says about its numbers. Needs no torch."""

from __future__ import annotations

from dataclasses import dataclass

from lora_recipes.base.components import Located
from lora_recipes.base.folder import read_json
from lora_recipes.errors import Problem, UserError

TOKENS = 77
"""The length of CLIP's text window, its start and end token included.

Source: Radford et al. 2021, arXiv:2103.00020, section 2.4.
"""


@dataclass(frozen=True)
class Facts:
    """The numbers that training needs besides the weights."""

    latent_scale: float
    """Latents are multiplied by this before noise is added, so that their variance is about 1."""

    prediction: str
    """What the UNet predicts: `epsilon` or `v_prediction`."""


def read_facts(located: Located) -> Facts:
    """Read them from the VAE's and the scheduler's configuration.

    Raises:
        UserError: the model needs maths that is not built here (shifted latents, zero terminal
            SNR, another prediction).
    """
    vae_file = located.components["vae"].config / "config.json"
    scheduler_file = located.components["scheduler"].config / "scheduler_config.json"
    vae, scheduler = read_json(vae_file), read_json(scheduler_file)
    problems = [
        _cannot(str(file), key, values[key])
        for file, values, key in (
            (vae_file, vae, "shift_factor"),
            (vae_file, vae, "latents_mean"),
            (vae_file, vae, "latents_std"),
            (scheduler_file, scheduler, "rescale_betas_zero_snr"),
        )
        if values.get(key)
    ]
    prediction = scheduler.get("prediction_type", "epsilon")
    if prediction not in ("epsilon", "v_prediction"):
        problems.append(_cannot(str(scheduler_file), "prediction_type", prediction))
    if problems:
        raise UserError(problems)
    return Facts(float(vae.get("scaling_factor", 0.18215)), prediction)


def _cannot(where: str, key: str, value: object) -> Problem:
    return Problem(
        where=where,
        what=f"{key} = {value}: this version cannot train such a model",
        fix="choose another base.model, for example SDXL base 1.0",
    )
