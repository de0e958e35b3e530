"""Whether the base's sampler can draw in so many steps, found out without any model."""

from __future__ import annotations

import inspect
from pathlib import Path

import torch

from lora_recipes.base.load import load_scheduler
from lora_recipes.base.locate import locate
from lora_recipes.errors import UserError
from lora_recipes.recipe.sections.base import Base

ANSWER = 0.1
"""What stands in for the model's prediction: any number will do."""


def try_sampler(
    base: Base,
    root: Path,
    steps: int,
    section: str = "sample",
) -> None:
    """Walk through a picture's steps with a number in place of the UNet: milliseconds.

    Some schedules of diffusers fail, or give NaN, for some numbers of steps only, or for settings
    that are sound one by one. It is asked before hours of training, not after.

    Args:
        base: the recipe's section.
        root: the project's folder.
        steps: how many.
        section: of the recipe, in which they stand: `sample` or `prior`.

    Raises:
        UserError: the sampler fails, or what it draws is not finite.
    """
    scheduler = load_scheduler(base, root)
    known = inspect.signature(scheduler.step).parameters
    more = {"generator": torch.Generator().manual_seed(0)} if "generator" in known else {}
    try:
        scheduler.set_timesteps(steps)
        latents = torch.ones(1, 4, 8, 8) * scheduler.init_noise_sigma
        for timestep in scheduler.timesteps:
            scaled = scheduler.scale_model_input(latents, timestep)
            answer = torch.full_like(scaled, ANSWER)
            latents = scheduler.step(answer, timestep, latents, **more, return_dict=False)[0]
        told = "" if latents.isfinite().all() else "the picture holds values that are not finite"
    except Exception as error:  # whatever a library says of settings that it cannot take together
        told = str(error).strip().partition("\n")[0] or type(error).__name__
    if told:
        raise UserError.of(
            where=str(locate(base, root).components["scheduler"].config / "scheduler_config.json"),
            what=f"{type(scheduler).__name__} cannot draw in {section}.steps = {steps}: {told}",
            fix=f"set {section}.steps to another number such as 25, or "
            + ("prior.images to 0" if section == "prior" else "sample.prompts to []")
            + ", or choose another base.model",
        )
