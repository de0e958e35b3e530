"""What the base draws by itself: regularization pictures."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from functools import partial

from PIL import Image
from torch import Tensor

from lora_recipes.base.load import load_unet
from lora_recipes.dataset.generated import PriorImage
from lora_recipes.errors import UserError
from lora_recipes.generate.generation import Embeddings, Generation, NotFiniteError, denoise
from lora_recipes.generate.one_model_at_a_time import generate
from lora_recipes.reporting import Reporter


def generate_prior(
    images: Sequence[PriorImage], generation: Generation, report: Reporter
) -> Iterator[tuple[PriorImage, Image.Image]]:
    """Generate regularization pictures by the base alone; yields them in order.

    Raises:
        UserError: a picture is not finite.
    """
    all_latents = partial(_all_latents, images, generation, report)
    yield from generate(images, generation, all_latents, _named, report)


def _all_latents(
    images: Sequence[PriorImage],
    generation: Generation,
    report: Reporter,
    embedded: Mapping[str, Embeddings],
) -> dict[PriorImage, Tensor]:
    with report.loading(f"the UNet of {generation.base.model}"):
        unet = load_unet(generation.base, generation.root, generation.dtype, generation.device)
    latents: dict[PriorImage, Tensor] = {}
    with report.bar("generate regularization pictures", len(images)) as bar:
        one_step = partial(bar.advance, 1 / generation.steps)
        for image in images:
            with _named(image):
                latents[image] = denoise(
                    generation, unet, embedded[image.prompt], image.seed, one_step
                )
    return latents


@contextlib.contextmanager
def _named(image: PriorImage) -> Iterator[None]:
    """Say of a picture that is not finite which one it is, and what helps."""
    try:
        yield
    except NotFiniteError as error:
        raise UserError.of(
            what=f'regularization picture {image.file} ("{image.prompt}") holds values that are '
            "not finite",
            fix="check the base model's files, or set compute.precision: fp32",
        ) from error
