"""How pictures become training pixels."""

from __future__ import annotations

from typing import Annotated, Literal

from lora_recipes.recipe.sections.kinds import Allowed, Pixels, Seed, Short, Size
from lora_recipes.recipe.sections.section import BelongsTo, Off, Section


class Prepare(Section):
    """How pictures become training pixels: size, crop, background."""

    resolution: Annotated[
        Pixels | Size,
        Allowed("a whole number from 64 to 4,096, a multiple of 8, or [width, height] of such"),
        Short("a number, or [width, height]"),
    ] = 1024
    """The size that is trained on: one number for squares, or [width, height].

    Larger pictures are scaled down, never stretched.
    Higher: more detail; time and memory grow with the area. Lower: quicker, but SDXL was made at
    1024 and draws worse far below it.
    With: `prepare.crop` for pictures of another shape, `prepare.upscale` for smaller ones.
    Source: Segmind, "Understanding Dreambooth LoRA Fine-tuning Parameters".
    """

    crop: Annotated[Literal["none", "center", "random"], Short("none, center or random")] = "none"
    """What happens to pictures of another shape than `prepare.resolution`.

    `none`: they are an error that names them. `center`: the middle is kept. `random`: a place
    drawn from `prepare.seed` and the picture's name, the same in every run.
    With: the crop's position goes into SDXL's time_ids, so the model knows of it.
    Source: Podell et al. 2023, arXiv:2307.01952, section 2.2.
    """

    upscale: Annotated[bool, Off(False)] = False
    """Whether pictures smaller than `prepare.resolution` are scaled up (`true`) or an error.

    With: enlarged pictures teach blur; larger originals are better.
    Source: kohya_ss presets (`bucket_no_upscale`).
    """

    background: Literal["white", "black", "gray"] = "white"
    """The colour that transparent pictures are laid on.

    With: the adapter learns that background together with the subject.
    Source: this project.
    """

    seed: Annotated[Seed, BelongsTo("prepare.crop", ("random",))] = 0
    """Where the chance of `prepare.crop: random` starts.

    Another number crops elsewhere.
    Source: this project.
    """
