"""How pictures and captions become latents and embeddings."""

from __future__ import annotations

from typing import Annotated, Literal

from lora_recipes.recipe.sections.kinds import Short
from lora_recipes.recipe.sections.section import HeaderField, Off, Section


class Encode(Section):
    """How pictures become latents. Done once, before training."""

    vae_precision: Annotated[Literal["fp32", "fp16"], Short("fp32 or fp16")] = "fp32"
    """The precision of the autoencoder.

    `fp16` halves its memory and time. With SDXL's own VAE it overflows to NaN.
    With: `fp16` needs `base.vae` to be a VAE made for it.
    Source: madebyollin/sdxl-vae-fp16-fix, model card.
    """

    max_tokens: Annotated[
        Literal[77, 150, 225],
        Off(77),
        HeaderField("ss_max_token_length"),
        Short("77, 150 or 225"),
    ] = 77
    """How many tokens of a caption are read; what comes behind them is cut off, and told.

    77 is what CLIP reads at once: 75 and a start and an end. 150 and 225 are two and three windows
    of 75, each encoded for itself; their tokens are put side by side between one start and one end,
    and the pooled text is the first window's.
    With: `sample.prompts` are read as far as captions are. Embeddings and cross-attention grow with
    it, whether a caption is long or not.
    Source: kohya-ss/sd-scripts (`max_token_length`), library/strategy_sdxl.py.
    """
