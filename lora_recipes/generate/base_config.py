"""What a base model's configuration says about generating images. Needs no torch."""

from __future__ import annotations

from pathlib import Path

from lora_recipes.base.folder import read_json
from lora_recipes.base.locate import locate
from lora_recipes.recipe.sections.base import Base


def zeros_for_empty_prompt(base: Base, root: Path) -> bool:
    """Whether "no negative prompt" means zeros: the model's own word, or else SDXL's: yes."""
    index = locate(base, root).components["unet"].config.parent / "model_index.json"
    known = read_json(index) if index.is_file() else {}
    return bool(known.get("force_zeros_for_empty_prompt", True))


def sampler(base: Base, root: Path) -> str:
    """The sampler's name as user interfaces have it: Euler, DDIM, EulerAncestral."""
    config = locate(base, root).components["scheduler"].config / "scheduler_config.json"
    name = str(read_json(config).get("_class_name", "unknown"))
    return name.removesuffix("Scheduler").removesuffix("Discrete")


def latent_shape(base: Base, root: Path, size: tuple[int, int]) -> tuple[int, int, int]:
    """Channels, height and width of the latents of an image of `size`, (width, height) pixels."""
    vae = read_json(locate(base, root).components["vae"].config / "config.json")
    factor = 2 ** (len(vae["block_out_channels"]) - 1)
    width, height = size
    return int(vae["latent_channels"]), height // factor, width // factor
