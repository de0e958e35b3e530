"""What the data stages would stop at or warn of, as far as a plan can tell it in a moment."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from lora_recipes.command import as_called
from lora_recipes.dataset.build import count_texts, glance
from lora_recipes.dataset.decode import pixels_in
from lora_recipes.dataset.examine import unseen
from lora_recipes.dataset.find import find
from lora_recipes.dataset.manifest import Manifest
from lora_recipes.dataset.pin import check_pin, facts_file, look
from lora_recipes.dataset.prepare import size_problems
from lora_recipes.errors import Problem, UserError
from lora_recipes.plan.count import repeats_by_name
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


@dataclass(frozen=True)
class Preflight:
    """What is known of the project's data."""

    repeats: list[int] | None
    """How often the folder of each picture to train on repeats it. None where no folder is here."""
    warnings: list[str] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    """What `dvc repro` would stop at."""

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
    report = Quiet()
    problems: list[Problem] = []
    texts = None
    glanced = False
    try:
        new = unseen(find(folder, dataset).images, facts_file(root))
        glanced = sum(pixels_in(entry.file) for entry in new) > A_MOMENT
        if glanced:
            sizes, problems, texts = glance(folder, dataset, report)
            problems += size_problems(sizes, prepare, report)
            report.warn(f"{counted(len(new), 'picture')} new: {GLANCED}; `{as_called('pin')}` does")
        else:
            manifest, problems = full_check(root, dataset, prepare, report)
            texts = count_texts(manifest.images)
            problems = _of_the_pin(root, folder, manifest, dataset, report) + problems
    except UserError as error:
        problems += error.problems
    return Preflight(repeats, report.warned, problems, texts, sure=not (glanced or problems))


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
