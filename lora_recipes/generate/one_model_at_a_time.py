"""Many images, one big model in memory at a time: text encoders, then the UNet, then the VAE."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Protocol, TypeVar

import torch
from PIL import Image
from torch import Tensor

from lora_recipes.base.compute import free_memory
from lora_recipes.base.load import load_vae
from lora_recipes.generate.generation import Embeddings, Generation, decode, embed
from lora_recipes.reporting import Reporter


class Prompted(Protocol):
    """One image to generate."""

    @property
    def prompt(self) -> str:
        """What it should show."""


AnyImage = TypeVar("AnyImage", bound=Prompted)


def generate(
    images: Sequence[AnyImage],
    generation: Generation,
    all_latents: Callable[[Mapping[str, Embeddings]], Mapping[AnyImage, Tensor]],
    named: Callable[[AnyImage], AbstractContextManager[None]],
    report: Reporter,
) -> Iterator[tuple[AnyImage, Image.Image]]:
    """Generate each image; yields them in order, after all latents are known to be finite.

    Args:
        images: hashable.
        generation: how.
        all_latents: the finished latents of every image, from the embeddings of each prompt. It
            loads the UNet, and gives it up.
        named: says of an image that is not finite, a `NotFiniteError`, which one it is.
        report: is told the progress.
    """
    embedded = embed(generation, {image.prompt for image in images}, report)
    free_memory()
    latents = all_latents(embedded)
    free_memory()
    with report.loading(f"the VAE of {generation.base.model}"):
        vae = load_vae(generation.base, generation.root, torch.float32, generation.device)
    with report.bar("decode images", len(images)) as bar:
        for image in images:
            with named(image):
                decoded = decode(vae, latents[image])
            yield image, decoded
            bar.advance()
