"""Whether a training is long enough for what the recipe asks, once the images are counted."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

from lora_recipes.errors import Place, Problem
from lora_recipes.recipe.counts import count, too_few_samples
from lora_recipes.recipe.schedule import snapshot_steps
from lora_recipes.recipe.sections.train import Train
from lora_recipes.recipe.size import Size


def problems_for_images(
    train: Train,
    repeats: Sequence[int],
    where: Callable[[str], Place | str] = lambda key: "",
    shapes: Sequence[Size] = (),
) -> list[Problem]:
    """What is wrong with a training on these images: no full step, a warm-up that does not end.

    Args:
        train: the section of a recipe.
        repeats: [images] how often each one's own folder repeats it, mostly 1.
        where: finds the place of a dotted key.
        shapes: [images] the size that each is trained at; empty where all have the same.
    """
    if problem := too_few_samples(repeats, train):
        return [dataclasses.replace(problem, where=where("train.repeats"))]
    steps, images = count(repeats, train, shapes).steps, sum(repeats)
    problems = []
    if train.warmup_steps >= steps:
        problems.append(
            Problem(
                where=where("train.warmup_steps"),
                what=f"train.warmup_steps = {train.warmup_steps} with {images} images",
                allowed=f"fewer than the training's {steps} steps",
                fix="lower train.warmup_steps, or train longer",
            )
        )
    if len(snapshot_steps(steps, train)) < len(train.snapshots):
        problems.append(
            Problem(
                where=where("train.snapshots"),
                what=f"train.snapshots = {list(train.snapshots)} with {images} images",
                allowed=f"parts that fall on different ones of the training's {steps} steps, "
                "not on the first's start or the last's end",
                fix="take fewer or other snapshots, or train longer",
            )
        )
    return problems
