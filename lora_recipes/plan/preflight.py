"""What the data stages would stop at or warn of, as far as a plan can tell it in a moment."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from lora_recipes.command import as_called
from lora_recipes.dataset.build import count_texts, glance
from lora_recipes.dataset.decode import pixels_in
from lora_recipes.dataset.examine import unseen
from lora_recipes.dataset.find import find
from lora_recipes.dataset.manifest import Manifest
from lora_recipes.dataset.masks import in_words
from lora_recipes.dataset.pin import check_pin, facts_file, look
from lora_recipes.dataset.roles import REGULARIZATION
from lora_recipes.dataset.size_problems import size_problems
from lora_recipes.errors import Problem, UserError
from lora_recipes.plan.count import repeats_by_name
from lora_recipes.plan.prior import NONE_GIVEN, Given
from lora_recipes.recipe.data_folder import data_folder
from lora_recipes.recipe.missing_folder import missing_folder
from lora_recipes.recipe.sections.dataset import Dataset
from lora_recipes.recipe.sections.prepare import Prepare
from lora_recipes.recipe.size import Size
from lora_recipes.reporting import Quiet, Reporter
from lora_recipes.text import counted

A_MOMENT = 25_000_000
"""Pixels that are decoded for a plan: about 0.1 s."""

GLANCED = (
    "only their names, headers and captions were looked at. Not looked at: damage behind the "
    "header, pictures that are there twice, and whether the data are as pinned"
)

MIRRORED = (
    "half of the looks (dataset.flip), and learned so too: not for writing, logos or faces to be "
    "recognised"
)
"""What a plan says where it is on: nothing else would tell of it before the pictures do."""


@dataclass(frozen=True)
class Preflight:
    """What is known of the project's data."""

    repeats: list[int] | None
    """How often the folder of each picture to train on repeats it. None where no folder is here."""
    sizes: dict[str, Size] = field(default_factory=dict)
    """Of each of these pictures, by path, in pixels; empty where that of any is not known."""
    warnings: list[str] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    """What `dvc repro` would stop at."""

    kept: Given = NONE_GIVEN
    """The regularization pictures in the data folder."""

    masks: str = ""
    """How many pictures have one, and how much of them counts; empty where that is not known."""

    texts: int | None = None
    """How many texts there are to encode; None where that is not known."""

    sure: bool = True
    """Whether the dataset stage will count the same pictures: all were looked at, and are right."""


def preflight(root: Path, dataset: Dataset, prepare: Prepare) -> Preflight:
    """Look at the data as dataset and prepare would, if that takes no more than a moment.

    What was looked at before is remembered. If too much is new, headers and captions are looked at.
    """
    folder = data_folder(root)
    if problem := missing_folder(root):
        return Preflight(None, problems=[problem])
    repeats = repeats_by_name(folder, dataset)
    kept = repeats_by_name(folder, dataset, REGULARIZATION) or {}
    report = Quiet()
    sizes: dict[str, Size] = {}
    problems: list[Problem] = []
    texts, told = None, ""
    glanced = False
    try:
        found = find(folder, dataset)
        new = unseen([*found.images, *found.masks], facts_file(root))
        glanced = sum(pixels_in(entry.file) for entry in new) > A_MOMENT
        if glanced:
            sizes, problems, texts = glance(folder, dataset, report)
            problems += size_problems(sizes, prepare, report)
            report.warn(f"{counted(len(new), 'picture')} new: {GLANCED}; `{as_called('pin')}` does")
        else:
            manifest, problems = full_check(root, dataset, prepare, report)
            sizes = {image.path: (image.width, image.height) for image in manifest.images}
            texts, told = count_texts(manifest.images), in_words(manifest.images)
            problems = _of_the_pin(root, folder, manifest, dataset, report) + problems
    except UserError as error:
        problems += error.problems
    return Preflight(
        list(repeats.values()) if repeats is not None else None,
        _if_all_known(repeats or {}, sizes),
        report.warned,
        problems,
        kept=Given(list(kept.values()), _if_all_known(kept, sizes)),
        texts=texts,
        masks=told,
        sure=not (glanced or problems),
    )


def _if_all_known(paths: Iterable[str], sizes: Mapping[str, Size]) -> dict[str, Size]:
    paths = list(paths)
    return {path: sizes[path] for path in paths} if {*paths} <= {*sizes} else {}


def full_check(
    root: Path, dataset: Dataset, prepare: Prepare, report: Reporter
) -> tuple[Manifest, list[Problem]]:
    """The manifest, and what the prepare stage would stop at.

    Raises:
        UserError: there can be no manifest; what prepare would stop at is told too.
    """
    sizes: dict[str, Size] = {}
    try:
        manifest = look(root, dataset, report, sizes.update)
    except UserError as error:
        too = size_problems(sizes, prepare, Quiet())
        raise UserError([*error.problems, *too]) from error
    return manifest, size_problems(sizes, prepare, report)


def _of_the_pin(
    root: Path, folder: Path, manifest: Manifest, dataset: Dataset, report: Quiet
) -> list[Problem]:
    try:
        check_pin(root, folder, manifest, dataset.manifest, report)
    except UserError as error:
        return list(error.problems)
    return []
