"""The pictures that show what the adapter learned."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from lora_recipes.recipe.sections.kinds import Advised, Allowed, Name, Seed, Short, Size
from lora_recipes.recipe.sections.section import BelongsTo, Off, Section


class Sample(Section):
    """The pictures that show what was learned: base beside adapter, every prompt × every seed."""

    prompts: Annotated[
        tuple[Name, ...],
        Field(strict=False),
        Allowed("a list of texts"),
        Short("a list; {trigger} and {class_word} are filled in"),
    ] = ()
    """What to generate, a list of texts. An empty list generates nothing.

    With: may use `{trigger}` and `{class_word}`; time grows with prompts × seeds × adapters
    (`train.snapshots` adds some).
    Source: this project; think of prompts that no caption holds, to see what carries over.
    """

    negative_prompt: Annotated[
        str, Off(""), BelongsTo("sample.guidance", above=1, fix="raise sample.guidance")
    ] = ""
    """What the pictures should not show. Empty is SDXL's own unconditional embedding.

    With: has an effect where `sample.guidance` is above 1.
    Source: diffusers, StableDiffusionXLPipeline.
    """

    seeds: Annotated[
        tuple[Seed, ...], Field(strict=False, min_length=1), Allowed("a list of whole numbers")
    ] = (0,)
    """Where each picture's noise starts, a list; each prompt is used once per seed.

    With: base and adapter start from the same noise, so that they can be compared.
    Source: this project.
    """

    steps: Annotated[int, Field(ge=1, le=1000), Advised(10, 60)] = 25
    """The sampler's steps.

    Higher: cleaner, up to a point; time grows linearly. Lower: quicker, rougher.
    With: nothing else.
    Source: diffusers, EulerDiscreteScheduler; the default is assumed.
    """

    guidance: Annotated[float, Field(ge=1, le=50), Advised(1, 12)] = 5.0
    """How strongly the prompt is followed (classifier-free guidance). 1 is off.

    Higher: closer to the prompt, harsher. Lower: freer, softer.
    With: above 1 the model is asked twice per step.
    Source: Ho & Salimans 2022, arXiv:2207.12598; default: diffusers.
    """

    strength: Annotated[float, Field(ge=0, le=4), Advised(0, 1.5)] = 1.0
    """How much of the adapter is added when generating. 1 is as trained.

    Higher: more of the subject, follows the prompt less. Lower: less; 0 is the base model.
    With: the same number that other programs call the LoRA's weight.
    Source: ComfyUI, A1111 (LoRA weight).
    """

    size: Annotated[Size | Literal["auto"], Short("[width, height], or auto")] = "auto"
    """[width, height] of the pictures, or `auto` for the size that was trained on.

    Higher: more detail and more time. Lower: quicker; far from the trained size, both are worse.
    With: `prepare.resolution`.
    Source: Podell et al. 2023, arXiv:2307.01952, section 2.2.
    """
