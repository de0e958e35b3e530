"""What regularization pictures cost: the generating before a training, and their part of it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from lora_recipes.dataset.buckets import target_of
from lora_recipes.dataset.generated import prior_images
from lora_recipes.dataset.size_problems import size_problems
from lora_recipes.errors import Place, Problem, Wording
from lora_recipes.pipeline import PRIOR
from lora_recipes.plan.buckets import Shapes
from lora_recipes.plan.duration import ROUGHLY, Duration, spoken
from lora_recipes.plan.work import Shape, forward, prior_batch
from lora_recipes.recipe.fields import show
from lora_recipes.recipe.model import Recipe
from lora_recipes.recipe.size import Size, size_of
from lora_recipes.recipe.words import prior_prompts
from lora_recipes.reporting import Quiet
from lora_recipes.text import counted


@dataclass(frozen=True)
class Given:
    """The pictures of `dataset.regularization`."""

    repeats: Sequence[int] = ()
    """How often the folder of each repeats it."""

    sizes: Mapping[str, Size] = field(default_factory=dict)
    """Of each, by path, in pixels; empty where that of any is not known."""

    @property
    def number(self) -> int:
        """How many there are."""
        return len(self.repeats)


NONE_GIVEN = Given()


def rows(  # noqa: PLR0917
    recipe: Recipe,
    given: Given,
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
        total = images + given.number
        kinds = f" ({given.number} given, {images} generated)" if given.number and images else ""
        often = _often(batches * size, total) if batches and total else ""
        told.append(
            (
                "regularization",
                f"{counted(total, 'picture')}{kinds}, {size} beside each batch of "
                f"{recipe.train.batch_size}{often}",
            )
        )
    return told


def shapes(recipe: Recipe, given: Given) -> Shapes:
    """What becomes of the shapes of regularization pictures, given and generated.

    Args:
        recipe: valid.
        given: pictures of `dataset.regularization`.
    """
    if given.repeats and not given.sizes:
        return Shapes(recipe.prepare, {}, [])
    images = recipe.prior.images
    generated = {PRIOR: _size(recipe)} if images else {}
    return Shapes(recipe.prepare, {**given.sizes, **generated}, [*given.repeats, images])


def size_of_generated(recipe: Recipe, where: Place) -> list[Problem]:
    """What prepare would stop at once all pictures were generated: too small, or of a shape that it
    may not crop. Without buckets, a rule of the recipe says so.

    Args:
        recipe: valid.
        where: `prior.size` is set.
    """
    prior, prepare = recipe.prior, recipe.prepare
    if not prior.images:
        return []
    whole = target_of(_size(recipe), prepare.model_copy(update={"upscale": True}))
    return [
        replace(
            problem,
            where=where,
            what=f"prior.size = {show(prior.size)}: {problem.what}",
            fix=f"set prior.size to {show(whole)}: nothing of it is cropped or enlarged",
        )
        for problem in size_problems({"all generated ones": _size(recipe)}, prepare, Quiet())
    ]


def number_of_texts(recipe: Recipe) -> int:
    """How many different captions the pictures get that are to be generated."""
    prompts = prior_prompts(recipe.prior, recipe.dataset.class_word)
    return len({image.prompt for image in prior_images(recipe.prior, prompts)})


def too_many(recipe: Recipe, given: Given, batches: int | None) -> Wording:
    """What to do about pictures that the training ends too early to see; empty without any.

    Args:
        recipe: valid.
        given: pictures of `dataset.regularization`.
        batches: of the subject's pictures, in the whole training; None where not known.
    """
    size = prior_batch(recipe.dataset.regularization, recipe.prior.images, recipe.train)
    if batches is None or not size:
        return ""
    images, seen = recipe.prior.images, batches * size
    total = images + given.number
    unseen = total - seen
    if unseen <= 0:
        return ""
    key, fix = f"dataset.regularization = {recipe.dataset.regularization}", "take some out"
    if images:
        key = f"prior.images = {images}"
        fix = f"lower it to {max(0, images - unseen)}"
    return (
        f"{key}: the training looks at a regularization picture {counted(seen, 'time')}, so of "
        f"{total:,} at least {unseen:,} are never seen: {fix}, or train longer"
    )


def _often(seen: int, total: int) -> str:
    """How often each of all regularization pictures is seen."""
    if seen < total:
        return f", at most {seen:,} of them seen"
    return f", each seen about {seen / total:,.0f} times"


def _time(recipe: Recipe, steps: int, shape: Shape, known: Duration | None) -> str:
    """From the training's time, by the operations of both."""
    if known is None or not steps:
        return ""
    prior = recipe.prior
    passes = prior.images * prior.steps * (2 if prior.guidance > 1 else 1)
    share = passes * forward(math.prod(_size(recipe))) / (steps * shape.work)
    low, high = known.low * share / ROUGHLY, known.high * share * ROUGHLY
    return f": roughly {spoken(low)} to {spoken(high)}, once"


def _size(recipe: Recipe) -> Size:
    """Of what is to be generated."""
    return size_of(recipe.prepare.resolution if recipe.prior.size == "auto" else recipe.prior.size)
