"""Which pictures lack a caption, where it belongs, and the words in front of it. No torch."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from lora_recipes.dataset.captions import own_captions, tidy
from lora_recipes.dataset.examine import headers
from lora_recipes.dataset.find import DataFile, Found, find, folder_repeats, named
from lora_recipes.dataset.place import shown
from lora_recipes.dataset.roles import HELDOUT, TRAIN
from lora_recipes.errors import Problem, UserError
from lora_recipes.printable import line as brief
from lora_recipes.recipe.sections.dataset import Dataset
from lora_recipes.recipe.words import fill

SUBJECT = (TRAIN, HELDOUT)
"""Roles of pictures that show the subject; others never get its trigger."""

"""In `dataset.caption.prefix`: the trigger then comes before every caption anyhow."""

JOINERS = "\u200c\u200d"
"""Letters of no width that words and emoji are made with."""

BROKEN = "\ufffd"
"""What stands for half of a letter, where a caption ended within it."""


@dataclass(frozen=True)
class Gap:
    """A picture that is to get a caption."""

    picture: DataFile

    file: Path
    """Where the caption belongs."""

    front: str
    """Words to put in front of it: the trigger; empty for none."""


@dataclass(frozen=True)
class Survey:
    """What of a data folder is to be captioned, and what is not."""

    gaps: list[Gap]

    kept: int
    """Pictures whose caption stays."""

    empty: list[str]
    """Those of them whose caption has no word."""

    listed: list[str]
    """Those of them whose caption stands in metadata.jsonl, which is never rewritten."""


def survey(
    folder: Path, dataset: Dataset, trigger: str | None, *, overwrite: bool, below: str = ""
) -> Survey:
    """Look for pictures without a caption of their own: no file beside them, no line of metadata.

    The words of a `N_name` folder are no caption of its own: its pictures get one, with those words
    in front where there is no trigger.

    Args:
        folder: the data folder.
        dataset: the recipe's section: trigger and roles.
        trigger: the word to put in front, `none` for none; None takes `dataset.trigger`.
        overwrite: whether captions in files beside the pictures are to be made anew.
        below: only pictures in this sub-folder, `control`; empty for all.

    Raises:
        UserError: as `find`; captions that cannot be read or are two; pictures that would share a
            caption's file, or that cannot be read as far as their header tells.
    """
    found = find(folder, dataset)
    own, problems = own_captions(folder, found, dataset)
    images = [entry for entry in found.images if not below or entry.path.startswith(f"{below}/")]
    if not images:
        raise UserError(_no_pictures(folder, below))
    listed = {path for path, caption in own.items() if caption.source == "metadata"}
    kept = [e for e in images if e.path in own and not (overwrite and e.path not in listed)]
    chosen = [entry for entry in images if entry not in kept]
    problems += _shared(folder, chosen, found)
    problems += headers(folder, chosen)[1]
    if problems:
        raise UserError(sorted(problems, key=lambda problem: str(problem.where)))
    beside = {entry.stem: entry.file for entry in found.captions}
    return Survey(
        [
            Gap(
                entry,
                beside.get(entry.stem, entry.file.with_suffix(".txt")),
                front_of(entry, dataset, trigger),
            )
            for entry in chosen
        ],
        len(kept),
        [entry.path for entry in kept if not any(own[entry.path].texts)],
        [entry.path for entry in kept if entry.path in listed],
    )


def front_of(entry: DataFile, dataset: Dataset, trigger: str | None) -> str:
    """The words in front of a picture's caption; empty for none. `trigger`: as in `survey`."""
    prefix = fill(dataset.caption.prefix, dataset.trigger, dataset.class_word)
    in_prefix = dataset.trigger != "none" and _holds(prefix, dataset.trigger)
    if entry.role not in SUBJECT or (trigger is None and in_prefix):
        return ""
    if trigger is not None:
        return "" if trigger == "none" else clean(trigger)
    if dataset.trigger != "none":
        return clean(dataset.trigger)
    of_folder = folder_repeats(entry.path)
    return clean(of_folder[1]) if of_folder else ""


def worded(front: str, said: str) -> str:
    """A caption: what a model said, tidied, with words in front that it does not hold already.

    >>> worded("rex", "a dog  on a beach. ")
    'rex, a dog on a beach.'
    >>> worded("rex", "a photo of Rex dog")
    'a photo of Rex dog'
    """
    text = clean(said).strip(" ,")
    return text if not front or _holds(text, front) else f"{front}, {text}"


def _holds(text: str, words: str) -> bool:
    """Whether words stand in a text, and not as a part of others."""
    return bool(re.search(rf"(?<!\w){re.escape(words)}(?!\w)", text, re.IGNORECASE))


def clean(text: str) -> str:
    """A text in one line, without what nobody can see: a stranger's model may say anything."""
    seen = (it if it.isprintable() or it in JOINERS else " " for it in text.replace(BROKEN, " "))
    return tidy("".join(seen))


def _no_pictures(folder: Path, below: str) -> Problem:
    what = "holds no pictures" if (folder / below).is_dir() else "there is no such folder"
    return Problem(where=f"{shown(folder)}/{below}", what=what, fix="name a folder with pictures")


def _shared(folder: Path, chosen: Iterable[DataFile], found: Found) -> list[Problem]:
    """Pictures whose names differ in the suffix alone: one caption's file would be for both."""
    stems = defaultdict(list)
    for entry in found.images:
        stems[entry.stem].append(entry.path)
    return [
        Problem(
            where=f"{shown(folder)}/{paths[0]}",
            what=f"its caption {brief(stem)}.txt could belong to {named(paths, ' or ')}",
            fix="rename one of the pictures",
        )
        for stem, paths in sorted(stems.items())
        if len(paths) > 1 and stem in {entry.stem for entry in chosen}
    ]
