"""How pictures and captions become latents and embeddings."""

from __future__ import annotations

from typing import Annotated, Literal

from lora_recipes.recipe.sections.kinds import Short
from lora_recipes.recipe.sections.section import Section


class Encode(Section):
    """How pictures become latents. Done once, before training."""

    vae_precision: Annotated[Literal["fp32", "fp16"], Short("fp32 or fp16")] = "fp32"
    """The precision of the autoencoder.

    `fp16` halves its memory and time. With SDXL's own VAE it overflows to NaN.
    With: `fp16` needs `base.vae` to be a VAE made for it.
    Source: madebyollin/sdxl-vae-fp16-fix, model card.
    """
