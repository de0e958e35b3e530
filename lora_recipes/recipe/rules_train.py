"""The rules of training: length, learning rate, optimizer."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from lora_recipes.recipe.fields import show
from lora_recipes.recipe.model import Recipe
from lora_recipes.recipe.rule import Finding, rule
from lora_recipes.recipe.schedule import POLYNOMIAL_END

MOST_PASSES = 1_000_000
"""More than anyone shows an image; above it, a digit too many is likelier."""


@rule("train.epochs", "train.steps")
def epochs_or_steps(recipe: Recipe, root: Path) -> Iterator[Finding]:
    """The length is given once: either `train.epochs` or `train.steps` is a number."""
    train = recipe.train
    if train.steps != "auto" and train.epochs != "auto":
        yield Finding(
            "train.steps",
            "one of train.epochs and train.steps as a number, the other auto",
            "write `epochs: auto` to train for exactly so many steps, or `steps: auto`",
            f" beside train.epochs = {train.epochs}",
        )
    if train.steps == "auto" and train.epochs == "auto":
        yield Finding(
            "train.epochs",
            "one of train.epochs and train.steps as a number, the other auto",
            "give train.epochs or train.steps a number",
            " beside train.steps = auto",
        )


@rule("train.repeats", "train.epochs")
def passes_within_reason(recipe: Recipe, root: Path) -> Iterator[Finding]:
    """`train.repeats` × `train.epochs`, how often an image is seen, is at most 1,000,000."""
    train = recipe.train
    if train.epochs != "auto" and train.repeats * train.epochs > MOST_PASSES:
        yield Finding(
            "train.repeats",
            f"train.repeats × train.epochs up to {MOST_PASSES:,}",
            "lower one of the two",
            f" beside train.epochs = {train.epochs}",
        )


@rule("train.warmup_steps", "train.steps")
def warmup_shorter_than_training(recipe: Recipe, root: Path) -> Iterator[Finding]:
    """The warm-up ends before the training does. Where `train.epochs` gives the length, this is
    checked as soon as the number of images is known."""
    train = recipe.train
    if train.steps != "auto" and train.warmup_steps >= train.steps:
        yield Finding(
            "train.warmup_steps",
            f"fewer than the training's {train.steps} steps",
            "lower train.warmup_steps, or train longer",
            f" beside train.steps = {train.steps}",
        )


@rule("train.scheduler", "train.warmup_steps", level="warning")
def constant_with_warmup_of_nothing(recipe: Recipe, root: Path) -> Iterator[Finding]:
    """`constant_with_warmup` without warm-up steps is plain `constant`."""
    if recipe.train.scheduler == "constant_with_warmup" and recipe.train.warmup_steps == 0:
        yield Finding(
            "train.scheduler",
            "constant_with_warmup with train.warmup_steps above 0",
            "give train.warmup_steps a number, or write `scheduler: constant`",
            " beside train.warmup_steps = 0",
        )


@rule("train.learning_rate", "train.scheduler")
def polynomial_above_its_end(recipe: Recipe, root: Path) -> Iterator[Finding]:
    """`polynomial` falls to 1e-7, so the learning rate starts above that."""
    rate = recipe.train.learning_rate
    if recipe.train.scheduler == "polynomial" and rate != "auto" and rate <= POLYNOMIAL_END:
        yield Finding(
            "train.learning_rate",
            "above 1e-07, where polynomial ends",
            "raise it, or choose another train.scheduler",
            " beside train.scheduler = polynomial",
        )


@rule("train.learning_rate", "train.adafactor.relative_step")
def relative_step_beside_a_rate(recipe: Recipe, root: Path) -> Iterator[Finding]:
    """With `train.adafactor.relative_step` the optimizer finds the rate itself: `auto`."""
    rate = recipe.train.learning_rate
    if recipe.train.adafactor.relative_step and rate != "auto":
        yield Finding(
            "train.adafactor.relative_step",
            "true with train.learning_rate auto only",
            "write `learning_rate: auto`, or `relative_step: false`",
            f" beside train.learning_rate = {show(rate)}",
        )


@rule("train.learning_rate", "train.adafactor.relative_step", "train.optimizer")
def auto_rate_needs_relative_step(recipe: Recipe, root: Path) -> Iterator[Finding]:
    """`train.learning_rate: auto` needs Adafactor with `relative_step`."""
    train = recipe.train
    if train.learning_rate == "auto" and train.optimizer != "adafactor":
        yield Finding(
            "train.learning_rate",
            "a number with this optimizer",
            "write a number, such as 0.0001",
            f" beside train.optimizer = {train.optimizer}",
        )
    elif train.learning_rate == "auto" and not train.adafactor.relative_step:
        yield Finding(
            "train.learning_rate",
            "auto with train.adafactor.relative_step true only",
            "write a number, such as 0.0001, or `relative_step: true` under train.adafactor",
            " beside train.adafactor.relative_step = false",
        )


@rule("train.learning_rate", "train.scheduler")
def auto_rate_needs_constant(recipe: Recipe, root: Path) -> Iterator[Finding]:
    """With `train.learning_rate: auto` there is no peak that a schedule could scale."""
    if recipe.train.learning_rate == "auto" and recipe.train.scheduler != "constant":
        yield Finding(
            "train.scheduler",
            "constant with train.learning_rate auto",
            "write `scheduler: constant`; the optimizer lowers its step size itself",
            " beside train.learning_rate = auto",
        )


@rule("train.adafactor.scale_parameter", "train.adafactor.relative_step", level="warning")
def scale_parameter_is_slow(recipe: Recipe, root: Path) -> Iterator[Finding]:
    """With `train.adafactor.scale_parameter` beside a learning rate, the adapter's up matrices,
    which start at zero, move about 1000 times slower. `relative_step` is made to go with it."""
    adafactor = recipe.train.adafactor
    if adafactor.scale_parameter and not adafactor.relative_step:
        yield Finding(
            "train.adafactor.scale_parameter",
            "false is advised: weights that start at zero move about 1000 times slower",
            "write `scale_parameter: false`",
        )


@rule("train.snapshots")
def snapshots_ascend(recipe: Recipe, root: Path) -> Iterator[Finding]:
    """`train.snapshots` ascend, and none stands twice."""
    snapshots = recipe.train.snapshots
    if list(snapshots) != sorted(set(snapshots)):
        yield Finding(
            "train.snapshots",
            "ascending numbers, none twice",
            f"write {show(sorted(set(snapshots)))}",
        )
