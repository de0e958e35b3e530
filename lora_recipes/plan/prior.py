"""What regularization pictures cost: the generating before a training, and their part of it."""

from __future__ import annotations

import math

from lora_recipes.plan.duration import ROUGHLY, Duration, spoken
from lora_recipes.plan.work import Shape, forward, prior_batch
from lora_recipes.recipe.model import Recipe
from lora_recipes.recipe.size import size_of
from lora_recipes.text import counted


def rows(  # noqa: PLR0917
    recipe: Recipe,
    given: int,
    batches: int | None,
    steps: int,
    shape: Shape,
    known: Duration | None,
) -> list[tuple[str, str]]:
    """What `plan` says of regularization pictures, by name; nothing where there are none.

    Args:
        recipe: valid.
        given: pictures of `dataset.regularization`.
        batches: of the subject's pictures, in the whole training; None where not known.
        steps: optimizer steps of the training.
        shape: of its steps.
        known: how long the training takes, if that is known.
    """
    told = []
    if images := recipe.prior.images:
        told.append(
            (
                "generate",
                f"{counted(images, 'regularization picture')} by the base, from "
                f"{counted(len(recipe.prior.prompts), 'prompt')}, in the stage prior"
                + _time(recipe, steps, shape, known),
            )
        )
    if size := prior_batch(recipe.dataset.regularization, recipe.prior.images, recipe.train):
        total = images + given
        kinds = f" ({given} given, {images} generated)" if given and images else ""
        often = (
            f", each seen about {batches * size / total:,.0f} times" if batches and total else ""
        )
        told.append(
            (
                "regularization",
                f"{counted(total, 'picture')}{kinds}, {size} beside each batch of "
                f"{recipe.train.batch_size}{often}",
            )
        )
    return told


def _time(recipe: Recipe, steps: int, shape: Shape, known: Duration | None) -> str:
    """From the training's time, by the operations of both."""
    if known is None or not steps:
        return ""
    prior = recipe.prior
    size = recipe.prepare.resolution if prior.size == "auto" else prior.size
    passes = prior.images * prior.steps * (2 if prior.guidance > 1 else 1)
    share = passes * forward(math.prod(size_of(size))) / (steps * shape.work)
    low, high = known.low * share / ROUGHLY, known.high * share * ROUGHLY
    return f": roughly {spoken(low)} to {spoken(high)}, once"
