"""The sample images of an adapter, one big model in memory at a time.

Text encoders first, then the UNet with each adapter in turn, then the VAE.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from PIL import Image
from torch import Tensor

from lora_recipes.adapter.parts import Adapted
from lora_recipes.base.load import load_unet
from lora_recipes.errors import UserError
from lora_recipes.generate.generation import Embeddings, Generation, NotFiniteError, denoise
from lora_recipes.generate.one_model_at_a_time import generate
from lora_recipes.recipe.sections.lora import Lora
from lora_recipes.reporting import Reporter
from lora_recipes.sample.sample_images import SampleImage
from lora_recipes.tensors import read_tensors


def generate_samples(
    images: Sequence[SampleImage],
    generation: Generation,
    lora: Lora,
    adapters: Mapping[str, Path],
    report: Reporter,
) -> Iterator[tuple[SampleImage, Image.Image]]:
    """Generate each image; yields them in order, after all latents are known to be finite.

    Args:
        images: with strengths and names of adapters.
        generation: how.
        lora: rank, alpha and targets of all adapters.
        adapters: each adapter's file, by its name in `SampleImage.adapter`.
        report: is told the progress.

    Raises:
        UserError: an adapter does not fit the base, or an image is not finite.
    """
    all_latents = partial(_all_latents, images, generation, lora, adapters, report)
    yield from generate(images, generation, all_latents, _named, report)


def _all_latents(  # noqa: PLR0917
    images: Sequence[SampleImage],
    generation: Generation,
    lora: Lora,
    adapters: Mapping[str, Path],
    report: Reporter,
    embedded: Mapping[str, Embeddings],
) -> dict[SampleImage, Tensor]:
    """The finished latents of every image, adapter by adapter, so that each loads once."""
    with report.loading(f"the UNet of {generation.base.model}"):
        unet = load_unet(generation.base, generation.root, generation.dtype, generation.device)
    adapted = Adapted({"unet": unet})
    adapted.inject(lora, seed=0)
    latents: dict[SampleImage, Tensor] = {}
    by_adapter = sorted(images, key=lambda image: (image.adapted, image.adapter))  # the base first
    loaded = ""
    with report.bar("generate images", len(images)) as bar:
        one_step = partial(bar.advance, 1 / generation.steps)
        for image in by_adapter:
            if image.adapted and image.adapter != loaded:
                switch_to(adapted, adapters[image.adapter], image.strength)
                loaded = image.adapter
            with adapted.enabled(image.adapted), _named(image):
                latents[image] = denoise(
                    generation, unet, embedded[image.prompt], image.seed, one_step
                )
    return latents


def switch_to(adapted: Adapted, path: Path, strength: float) -> None:
    """Load an adapter's file in place of the one before.

    Raises:
        UserError: the file's tensors are not exactly those that there is room for.
    """
    adapted.set_strength(1.0)
    try:
        adapted.load(read_tensors(path))
    except UserError as error:
        named = [replace(problem, where=problem.where or str(path)) for problem in error.problems]
        raise UserError(named) from error
    adapted.set_strength(strength)


@contextlib.contextmanager
def _named(image: SampleImage) -> Iterator[None]:
    """Say of an image that is not finite which one it is, and what helps."""
    try:
        yield
    except NotFiniteError as error:
        raise UserError.of(
            what=f'image {image.file} ("{image.prompt}") holds values that are not finite',
            fix="lower sample.strength, or train with a lower train.learning_rate"
            if image.adapted
            else "check the base model's files, or set compute.precision: fp32",
        ) from error
