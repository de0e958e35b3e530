"""How much disk the encoded texts take: variants of captions are what makes them many."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lora_recipes.dataset.variants import varies
from lora_recipes.errors import Wording
from lora_recipes.plan.memory import gib
from lora_recipes.plan.shapes import unet_config
from lora_recipes.recipe.model import Recipe
from lora_recipes.recipe.windows import tokens_read

MANY = 10 * 10**9
"""Bytes above which a plan warns."""

SHOWN = 2**30
"""Bytes above which a plan says so of ordinary captions too."""


@dataclass(frozen=True)
class Texts:
    """The texts of a run, each encoded once."""

    number: int
    tokens: int
    """That are read of each, the start and the end included."""
    bytes_each: int
    variants: int
    """`dataset.caption.variants`; 1 where captions do not vary."""

    @property
    def size(self) -> int:
        """Bytes of all embeddings."""
        return self.number * self.bytes_each

    @property
    def shown(self) -> bool:
        """Whether there is more to say than of one short caption for each picture."""
        return self.variants > 1 or self.tokens > tokens_read(77) or self.size > SHOWN

    def __str__(self) -> str:
        return (
            f"{self.number:,} different, the empty one included, of {self.tokens} tokens: "
            f"{gib(self.size)} of embeddings"
        )

    @property
    def warning(self) -> Wording:
        """What is wrong with so many; empty where nothing is."""
        if self.size <= MANY:
            return ""
        fewer = (
            f"lower dataset.caption.variants, which is {self.variants}"
            if self.variants > 1
            else "see whether there have to be so many pictures"
        )
        return (
            f"{self.number:,} texts take {self.size / 1e9:.0f} GB of embeddings in build/encoded, "
            f"and as much again in .lora/encoded: {fewer}"
        )


def texts(recipe: Recipe, number: int, root: Path) -> Texts:
    """What encoding so many texts leaves on the disk.

    Args:
        recipe: valid.
        number: of different texts.
        root: the project's folder, to look into a local base model's config.
    """
    tokens = tokens_read(recipe.encode.max_tokens)
    width, pooled = _widths(unet_config(recipe.base.model, root))
    settings = recipe.dataset.caption
    return Texts(
        number=number,
        tokens=tokens,
        bytes_each=4 * (tokens * width + pooled),
        variants=settings.variants if varies(settings) else 1,
    )


def _widths(config: Mapping[str, Any]) -> tuple[int, int]:
    """Numbers of one token, and of the pooled text: 2,048 and 1,280 in SDXL.

    Source: diffusers, UNet2DConditionModel (text_time: six time_ids and the pooled text).
    """
    pooled = config["projection_class_embeddings_input_dim"] - 6 * config["addition_time_embed_dim"]
    return config["cross_attention_dim"], pooled
