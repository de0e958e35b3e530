"""Sub-folders whose names say that their pictures are not to be trained on, but nobody declared."""

from __future__ import annotations

import posixpath
from collections import Counter
from collections.abc import Iterable

from lora_recipes.dataset.roles import CONTROL, HELDOUT, KEYS, MASK, REGULARIZATION, folders
from lora_recipes.errors import Problem
from lora_recipes.printable import line
from lora_recipes.recipe.sections.dataset import Dataset
from lora_recipes.text import counted, first_few

NAMED = 8
"""Files that a message names before it says how many more there are."""

MEANT = {
    "heldout": HELDOUT,
    "control": CONTROL,
    "controls": CONTROL,
    "other": CONTROL,
    "others": CONTROL,
    "mask": MASK,
    "masks": MASK,
    "reg": REGULARIZATION,
    "regs": REGULARIZATION,
    "regimages": REGULARIZATION,
    "regularization": REGULARIZATION,
    "regularisation": REGULARIZATION,
    "regularizationimages": REGULARIZATION,
    "regularisationimages": REGULARIZATION,
}
"""Folder names, in small letters and without `-`, `_` and spaces, and what they are meant for."""


MASK_BESIDE = "-masklabel"
"""How the stems of masks end that OneTrainer keeps beside their pictures."""


def undeclared(shown: str, trained: Iterable[str], dataset: Dataset) -> list[Problem]:
    """A problem for each folder that is not what its name says, and one for masks beside pictures.

    Args:
        shown: the data folder, as messages show it.
        trained: the paths of the pictures that would be trained on.
    """
    counts: Counter[str] = Counter()
    beside = []
    for path in trained:
        if posixpath.splitext(path)[0].endswith(MASK_BESIDE):
            beside.append(path)
        parts = path.split("/")[:-1]
        for level, part in enumerate(parts, start=1):
            if _meaning(part):
                counts["/".join(parts[:level])] += 1
                break
    problems = [_problem(shown, folder, count, dataset) for folder, count in sorted(counts.items())]
    return problems + ([_masks_beside(shown, beside, dataset)] if beside else [])


def _masks_beside(shown: str, masks: list[str], dataset: Dataset) -> Problem:
    declared = folders(dataset)[MASK]
    folder = declared if declared != "none" else "masks"
    first = line(masks[0].replace(MASK_BESIDE, ""))
    fix = f"move each into {shown}/{folder} under its picture's name, such as {folder}/{first}"
    return Problem(
        where=shown,
        what=f"{counted(len(masks), 'picture')} would be trained on, whose names mean masks: "
        + first_few([line(path) for path in masks], NAMED),
        fix=fix if declared != "none" else f"{fix}, and set dataset.masks: masks",
    )


def _meaning(name: str) -> str | None:
    return MEANT.get(name.casefold().translate(dict.fromkeys(map(ord, "-_ "))))


def _problem(shown: str, folder: str, count: int, dataset: Dataset) -> Problem:
    name = posixpath.basename(folder)
    meaning = _meaning(name)
    assert meaning is not None, "only folders whose names mean something are told"
    what = f"{counted(count, 'picture')} would be trained on"
    if meaning == REGULARIZATION:
        what += " as the subject, but its name means regularization images"
    key, declared = KEYS[meaning], folders(dataset)[meaning]
    if declared != "none":
        fix = f"move its pictures into {shown}/{declared}, which is {key}"
    elif "/" in folder:
        fix = f"move the folder to {shown}/{name} and set {key}: {name}"
    else:
        fix = f"set {key}: {name}"
    return Problem(where=f"{shown}/{folder}", what=what, fix=f"{fix}, or rename the folder")
