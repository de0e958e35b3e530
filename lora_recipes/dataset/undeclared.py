"""Sub-folders whose names say that their pictures are not to be trained on, but nobody declared."""

from __future__ import annotations

import posixpath
from collections import Counter
from collections.abc import Iterable

from lora_recipes.dataset.roles import CONTROL, HELDOUT, REGULARIZATION
from lora_recipes.errors import Problem
from lora_recipes.recipe.sections.dataset import Dataset
from lora_recipes.text import counted

MEANT = {
    "heldout": HELDOUT,
    "control": CONTROL,
    "controls": CONTROL,
    "other": CONTROL,
    "others": CONTROL,
    "reg": REGULARIZATION,
    "regs": REGULARIZATION,
    "regimages": REGULARIZATION,
    "regularization": REGULARIZATION,
    "regularisation": REGULARIZATION,
    "regularizationimages": REGULARIZATION,
    "regularisationimages": REGULARIZATION,
}
"""Folder names, in small letters and without `-`, `_` and spaces, and what they are meant for."""


def undeclared(shown: str, trained: Iterable[str], dataset: Dataset) -> list[Problem]:
    """A problem for each folder that is not what its name says.

    Args:
        shown: the data folder, as messages show it.
        trained: the paths of the pictures that would be trained on.
    """
    counts: Counter[str] = Counter()
    for path in trained:
        parts = path.split("/")[:-1]
        for level, part in enumerate(parts, start=1):
            if _meaning(part):
                counts["/".join(parts[:level])] += 1
                break
    return [_problem(shown, folder, count, dataset) for folder, count in sorted(counts.items())]


def _meaning(name: str) -> str | None:
    return MEANT.get(name.casefold().translate(dict.fromkeys(map(ord, "-_ "))))


def _problem(shown: str, folder: str, count: int, dataset: Dataset) -> Problem:
    name = posixpath.basename(folder)
    meaning = _meaning(name)
    assert meaning is not None, "only folders whose names mean something are told"
    what = f"{counted(count, 'picture')} would be trained on"
    if meaning == REGULARIZATION:
        what += " as the subject, but its name means regularization images"
    declared = getattr(dataset, meaning)
    if declared != "none":
        fix = f"move its pictures into {shown}/{declared}, which is dataset.{meaning}"
    elif "/" in folder:
        fix = f"move the folder to {shown}/{name} and set dataset.{meaning}: {name}"
    else:
        fix = f"set dataset.{meaning}: {name}"
    return Problem(where=f"{shown}/{folder}", what=what, fix=f"{fix}, or rename the folder")
