"""The prior stage: the base model alone → regularization pictures, `build/prior/`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from lora_recipes.dataset.generated import (
    GeneratedPicture,
    PriorImage,
    prior_images,
    write_index,
)
from lora_recipes.dataset.png import png
from lora_recipes.files import fresh_folder, write_bytes
from lora_recipes.hashing import sha256_bytes
from lora_recipes.imports import large_libraries
from lora_recipes.pipeline import PRIOR, stage
from lora_recipes.recipe.resolved import read_keys, read_section, read_value
from lora_recipes.recipe.sections.base import Base
from lora_recipes.recipe.sections.compute import Compute
from lora_recipes.recipe.sections.prior import Prior
from lora_recipes.recipe.size import size_of
from lora_recipes.reporting import Reporter

if TYPE_CHECKING:
    from lora_recipes.generate.generation import Generation


def run(root: Path, report: Reporter) -> None:
    """Generate the recipe's regularization pictures; where it asks for none, load nothing.

    Raises:
        UserError: the base's sampler cannot draw so, or a picture is not finite. `build/prior/`
            then stays as it was.
    """
    prior = read_section(root, "prior", Prior)
    prompts = read_value(root, "prior_prompts")
    images = prior_images(prior, prompts)
    with fresh_folder(root / PRIOR) as folder:
        written = (
            _generate(folder, images, _generation(root, prior, report), report) if images else []
        )
        write_index(folder, written)
    report.say(f"{len(written)} regularization pictures generated" if images else "none asked for")


def _generation(root: Path, prior: Prior, report: Reporter) -> Generation:
    with report.loading("torch and diffusers"), large_libraries():
        from lora_recipes.base.compute import set_up
        from lora_recipes.generate.generation import Generation
        from lora_recipes.generate.try_sampler import try_sampler

    base = read_section(root, "base", Base)
    try_sampler(base, root, prior.steps, "prior")
    setup = set_up(read_keys(root, "compute", Compute, stage("prior").keys_of("compute")))
    resolution = read_value(root, "prepare.resolution")
    return Generation(
        base=base,
        root=root,
        size=size_of(resolution if prior.size == "auto" else prior.size),
        steps=prior.steps,
        guidance=prior.guidance,
        negative_prompt="",
        device=setup.device,
        dtype=setup.dtype,
    )


def _generate(
    folder: Path, images: list[PriorImage], generation: Generation, report: Reporter
) -> list[GeneratedPicture]:
    from lora_recipes.generate.prior_images import generate_prior

    written = []
    for image, pixels in generate_prior(images, generation, report):
        data = png(pixels)
        write_bytes(folder / image.file, data)
        width, height = pixels.size
        written.append(
            GeneratedPicture(
                image.file, image.prompt, image.seed, sha256_bytes(data), width, height
            )
        )
    return written
