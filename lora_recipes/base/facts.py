"""What a base model's configuration says about its numbers. Needs no torch."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from lora_recipes.base.components import Located
from lora_recipes.base.folder import read_json
from lora_recipes.base.known import SCHEDULER, VAE, KnownKey
from lora_recipes.base.statements import agreed_prediction
from lora_recipes.base.values import named, shown
from lora_recipes.errors import Problem, UserError

LEAST_SIGNAL = 1e-6
"""abar of the last step. SDXL's is 0.0047; at zero, noise says nothing of the picture, and other
maths is needed (zero terminal SNR)."""


@dataclass(frozen=True)
class Schedule:
    """How much noise each timestep adds, in diffusers' words."""

    beta_start: float
    beta_end: float
    num_train_timesteps: int
    beta_schedule: str


@dataclass(frozen=True)
class Facts:
    """The numbers that training needs besides the weights."""

    latent_scale: float
    """Latents are multiplied by this before noise is added, so that their variance is about 1."""

    prediction: str
    """What the UNet predicts: `epsilon` or `v_prediction`."""

    schedule: Schedule


def read_facts(located: Located) -> Facts:
    """Read them from the VAE's and the scheduler's configuration, and from the weights' metadata.

    Raises:
        UserError: something is not known to be trained right: shifted latents, another schedule
            or scheduler, another prediction, or two places that contradict each other.
    """
    vae_file = located.components["vae"].config / "config.json"
    scheduler_file = located.components["scheduler"].config / "scheduler_config.json"
    vae, scheduler = read_json(vae_file), read_json(scheduler_file)
    problems = [
        *problems_of_scheduler(str(scheduler_file), scheduler),
        *(
            problem
            for key in ("scaling_factor", "shift_factor", "latents_mean", "latents_std")
            for problem in problems_of_key(str(vae_file), vae, key, VAE[key])
        ),
    ]
    if problems:
        raise UserError(problems)
    prediction = agreed_prediction(located)
    return Facts(float(vae["scaling_factor"]), prediction, schedule_of(scheduler))


def schedule_of(scheduler: Mapping[str, Any]) -> Schedule:
    """The schedule of a configuration that was checked."""
    return Schedule(
        scheduler["beta_start"],
        scheduler["beta_end"],
        scheduler["num_train_timesteps"],
        scheduler["beta_schedule"],
    )


def problems_of_scheduler(where: str, config: Mapping[str, Any]) -> list[Problem]:
    """All that is not known to be trained right in a scheduler's configuration.

    A key that no DDPM scheduler has is a problem too: what it does to the noise is not known. Of a
    class of another family nothing else is told, since its keys are others.

    Args:
        where: the file, for messages.
        config: its content.
    """
    family = list(problems_of_key(where, config, "_class_name", SCHEDULER["_class_name"]))
    if family:
        return family
    problems = [
        problem
        for name, key in SCHEDULER.items()
        for problem in problems_of_key(where, config, name, key)
    ]
    strange = [key for key in config if not (key in SCHEDULER or key.startswith("_"))]
    problems += [_cannot(where, key, config[key]) for key in sorted(strange)]
    if not problems:
        problems += _problems_of_schedule(where, config)
    if sum(config.get(key) is True for key in ("use_karras_sigmas", "use_exponential_sigmas")) > 1:
        problems.append(_cannot(where, "use_exponential_sigmas", True, "not beside karras"))
    return problems


def _problems_of_schedule(where: str, config: Mapping[str, Any]) -> Iterator[Problem]:
    """What is wrong with a schedule whose numbers are each in their range."""
    schedule = schedule_of(config)
    if schedule.beta_start > schedule.beta_end:
        allowed = f"at most beta_end, {shown(schedule.beta_end)}"
        yield _cannot(where, "beta_start", schedule.beta_start, allowed)
    elif _signal_left(schedule) < LEAST_SIGNAL:
        allowed = f"less: more than {LEAST_SIGNAL:g} of the signal is left after the last step"
        yield _cannot(where, "beta_end", schedule.beta_end, allowed)


def _signal_left(schedule: Schedule) -> float:
    """abar of the last step, as `diffusion.noise.alphas_cumprod` has it."""
    first, last = schedule.beta_start**0.5, schedule.beta_end**0.5
    step = (last - first) / (schedule.num_train_timesteps - 1)
    betas = ((first + step * t) ** 2 for t in range(schedule.num_train_timesteps))
    return math.exp(sum(math.log1p(-beta) for beta in betas))


def problems_of_key(
    where: str, config: Mapping[str, Any], name: str, key: KnownKey
) -> Iterator[Problem]:
    """What is wrong with one key of a configuration: at most one problem.

    Args:
        where: the file, for messages.
        config: its content.
        name: the key's name.
        key: what is known of it.
    """
    if name not in config:
        if key.needed:
            yield Problem(
                where=where,
                what=f"{name} is not stated",
                allowed=str(key.kind),
                fix="fetch the file again, or choose another base.model",
            )
    elif not key.kind.admits(config[name]):
        yield _cannot(where, name, config[name], str(key.kind))


def _cannot(where: str, key: str, value: object, allowed: str = "") -> Problem:
    return Problem(
        where=where,
        what=f"{named(key)} = {shown(value)}: this version cannot train such a model",
        allowed=allowed,
        fix="choose another base.model, for example SDXL base 1.0",
    )
