"""Whether a training is long enough for what the recipe asks, once the images are counted."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

from lora_recipes.errors import Place, Problem
from lora_recipes.recipe.schedule import (
    optimizer_steps,
    samples,
    snapshot_steps,
    too_few_samples,
    window,
)
from lora_recipes.recipe.sections.train import Train


def problems_for_images(
    train: Train, images: int, where: Callable[[str], Place | str] = lambda key: ""
) -> list[Problem]:
    """What is wrong with a training of so many images: no full step, a warm-up that does not end.

    Args:
        train: the section of a recipe.
        images: how many are trained on, each counted as often as its own `repeats` say.
        where: finds the place of a dotted key.
    """
    if samples(images, train) < window(train):
        problem = too_few_samples(images, train)
        return [dataclasses.replace(problem, where=where("train.repeats"))]
    steps = optimizer_steps(images, train)
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
