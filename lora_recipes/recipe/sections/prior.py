"""Regularization pictures that the base model itself generates."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from lora_recipes.recipe.sections.kinds import Advised, Allowed, Name, Seed, Short, Size
from lora_recipes.recipe.sections.section import BelongsTo, Off, Section

_ON = BelongsTo("prior.images", above=0, fix="give prior.images a number")


class Prior(Section):
    """Pictures that the base model generates before the training, to be kept in mind in it."""

    images: Annotated[
        int, Field(ge=0, le=10_000), Advised(20, 1000, also=(0,)), Off(0), Short("0 is off")
    ] = 0
    """How many regularization pictures the base model generates. 0: none, and nothing is loaded.

    Higher: more of what the base knows is kept; generating takes longer. Lower: quicker; a few
    pictures that are seen again and again are learned by heart.
    With: `prior.prompts` are gone round, picture k starts at `prior.seed` + k. They are added to
    those of `dataset.regularization`, if both are given. The pin does not cover them.
    Source: Ruiz et al. 2023 (DreamBooth), arXiv:2208.12242, section 3.2.
    """

    prompts: Annotated[
        tuple[Name, ...],
        Field(strict=False, min_length=1),
        Allowed("a list of texts"),
        _ON,
        Short("a list; {class_word} and {word} are filled in"),
    ] = ("a photo of {class_word}",)
    """What the base model generates, a list of texts; each becomes its pictures' caption.

    With: may use `{class_word}`, and `{word}`: an unknown word, another one for each picture, which
    keeps it free of your subject. Many different prompts, of other things too, keep more than one
    class prompt alone.
    Source: diffusers, examples/dreambooth (`--class_prompt`); a list: this project.
    """

    steps: Annotated[int, Field(ge=1, le=1000), Advised(10, 60), _ON] = 25
    """The sampler's steps, as `sample.steps`.

    Higher: cleaner, up to a point; time grows linearly. Lower: quicker, rougher.
    With: nothing else.
    Source: diffusers, EulerDiscreteScheduler; the default is assumed.
    """

    guidance: Annotated[float, Field(ge=1, le=50), Advised(1, 12), _ON] = 5.0
    """How strongly the prompt is followed, as `sample.guidance`. 1 is off.

    Higher: closer to the prompt, harsher. Lower: freer, softer, closer to what the base learned.
    With: above 1 the model is asked twice per step.
    Source: Ho & Salimans 2022, arXiv:2207.12598; default: diffusers.
    """

    seed: Annotated[Seed, _ON] = 0
    """Where the first picture's noise starts; each further one starts at the next number.

    Another number gives other pictures.
    Source: this project.
    """

    size: Annotated[Size | Literal["auto"], _ON, Short("[width, height], or auto")] = "auto"
    """[width, height] of the pictures, or `auto` for `prepare.resolution`.

    Higher: more detail and more time; what is larger than the training size is scaled down. Lower:
    quicker; smaller than the training size is an error, unless `prepare.upscale`.
    With: `prepare.resolution`.
    Source: Podell et al. 2023, arXiv:2307.01952, section 2.2.
    """
