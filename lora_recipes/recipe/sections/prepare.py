"""How pictures become training pixels."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from lora_recipes.recipe.sections.kinds import Advised, Allowed, Pixels, Seed, Short, Size
from lora_recipes.recipe.sections.section import BelongsTo, HeaderField, Off, Section

WITH_BUCKETS = BelongsTo("prepare.buckets", (True,))


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
    With: `prepare.buckets` or `prepare.crop` for pictures of another shape, `prepare.upscale` for
    smaller ones.
    Source: Segmind, "Understanding Dreambooth LoRA Fine-tuning Parameters".
    """

    buckets: Annotated[
        bool, Off(False), HeaderField("ss_enable_bucket"), Short("true: photos keep their shape")
    ] = False
    """Whether each picture keeps its shape (`true`), or all get that of `prepare.resolution`.

    A bucket is a size of about the area of `prepare.resolution`, its sides whole
    `prepare.bucket_step`s. Each picture gets the one that keeps most of it, and a batch holds
    pictures of one bucket.
    With: `prepare.crop` decides which few pixels go; `none` refuses to lose more than one step.
    Without `prepare.upscale`, a picture that is smaller than its bucket gets a smaller one.
    Source: NovelAI, "NovelAI Improvements on Stable Diffusion" (2022); kohya-ss/sd-scripts
    (`enable_bucket`).
    """

    bucket_step: Annotated[
        int, Field(ge=8, le=512, multiple_of=8), Advised(32, 64), WITH_BUCKETS
    ] = 64
    """Pixels by which the sides of buckets differ: each side is a multiple of it.

    Higher: fewer buckets, more is cropped, fuller batches. Lower: more buckets, less is cropped.
    With: `train.batch_size`: of each bucket, a batch may be short at the end of the training.
    Source: kohya-ss/sd-scripts (`bucket_reso_steps`).
    """

    min_bucket: Annotated[
        Pixels | Literal["auto"], WITH_BUCKETS, Short("pixels, or auto: half of resolution")
    ] = "auto"
    """The shortest side of a bucket in pixels, or `auto` for half the side of a square.

    Higher: long pictures lose more. Lower: they keep their shape, on fewer pixels across.
    With: `prepare.resolution`: 512 at 1024. Pictures smaller than their bucket may go below it.
    Source: kohya-ss/sd-scripts (`min_bucket_reso`).
    """

    max_bucket: Annotated[
        Pixels | Literal["auto"], WITH_BUCKETS, Short("pixels, or auto: twice resolution")
    ] = "auto"
    """The longest side of a bucket in pixels, or `auto` for twice the side of a square.

    Higher: long pictures keep their shape. Lower: they lose more at their ends.
    With: `prepare.resolution`: 2,048 at 1024.
    Source: kohya-ss/sd-scripts (`max_bucket_reso`).
    """

    crop: Annotated[Literal["none", "center", "random"], Short("none, center or random")] = "none"
    """What happens to pictures of another shape than `prepare.resolution`.

    `none`: they are an error that names them. `center`: the middle is kept. `random`: a place
    drawn from `prepare.seed` and the picture's name, the same in every run.
    With: with `prepare.buckets`, of another shape than their bucket; there `none` keeps the middle
    too, and refuses pictures of which more than one step would go. The crop's position goes into
    SDXL's time_ids, so the model knows of it.
    Source: Podell et al. 2023, arXiv:2307.01952, section 2.2.
    """

    upscale: Annotated[bool, Off(False)] = False
    """Whether pictures smaller than `prepare.resolution` are scaled up (`true`) or an error.

    With: enlarged pictures teach blur; larger originals are better. With `prepare.buckets`, a
    picture that is not scaled up is trained on at its own size, in whole steps.
    Source: kohya_ss presets (`bucket_no_upscale`, which says the opposite).
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
