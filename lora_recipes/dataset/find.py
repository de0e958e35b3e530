"""Which files of a data folder are pictures, captions or neither, in an order no disk decides."""

from __future__ import annotations

import posixpath
import re
import unicodedata
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from itertools import combinations
from operator import attrgetter
from pathlib import Path, PurePosixPath

from lora_recipes.dataset.place import folder_problems, shown
from lora_recipes.dataset.roles import HELDOUT, KEYS, MASK, TRAIN, folders
from lora_recipes.dataset.suffixes import SUFFIXES
from lora_recipes.dataset.undeclared import undeclared
from lora_recipes.dataset.walk import printable, walk
from lora_recipes.errors import Problem, UserError, Wording
from lora_recipes.printable import line
from lora_recipes.recipe.sections.dataset import Dataset
from lora_recipes.text import first_few

READ = frozenset(suffix for suffixes in SUFFIXES.values() for suffix in suffixes)

UNREAD = frozenset({".gif", ".heic", ".heif", ".hif", ".jxl", ".jp2"})
"""Suffixes of pictures that are not read: an error, because leaving them out would be silent."""

CAPTION = frozenset({".txt", ".caption"})
METADATA = "metadata.jsonl"
OTHER_METADATA = frozenset({"metadata.csv", "metadata.parquet"})

LONGEST_PATH = 2048
"""Bytes of a picture's path in the data folder. It has to fit below `build/images` as well, where
a system may allow 4,096 in all."""

NAMED = 8
"""Files that a message names before it says how many more there are."""

REPEATS = re.compile(r"([0-9]{1,6})_(.+)")
"""kohya's folder names: `10_zwk toy` means 10 repeats and the caption `zwk toy`. A longer number is
no repeats but a name, such as a date or a phone's `20241125_103000`."""


@dataclass(frozen=True)
class DataFile:
    """A file of the data folder."""

    path: str
    """POSIX, relative to the data folder, Unicode NFC: the same on every system."""

    file: Path
    """Where it lies on this disk."""

    role: str = TRAIN
    """`train`, `heldout`, `control`, `regularization` or `mask`."""

    @property
    def stem(self) -> str:
        """The path without its suffix: what a picture and its caption share."""
        return posixpath.splitext(self.path)[0]

    @property
    def suffix(self) -> str:
        """The suffix in small letters, with its dot."""
        return posixpath.splitext(self.path)[1].lower()


@dataclass
class Found:
    """The files of a data folder, each list sorted by path."""

    images: list[DataFile] = field(default_factory=list)
    captions: list[DataFile] = field(default_factory=list)
    metadata: list[DataFile] = field(default_factory=list)
    masks: list[DataFile] = field(default_factory=list)
    """Of pictures: the pictures in `dataset.masks`."""

    others: list[DataFile] = field(default_factory=list)
    """Files that are neither picture, caption nor mask."""


def find(folder: Path, dataset: Dataset) -> Found:
    """Sort the files of a data folder into pictures, captions, masks and others.

    Hidden files and folders are left out, and what a NAS makes for itself. Files may be links into
    DVC's cache or within the project, folders may not.

    Raises:
        UserError: no such folder, no pictures, a role's sub-folder is missing or empty or not
            declared, names that cannot stand in a manifest, links that lead elsewhere, what is no
            ordinary file or cannot be read.
    """
    problems = folder_problems(folder) or _role_problems(dataset)
    if problems:
        raise UserError(problems)
    entries, problems = _entries(folder, dataset)
    if problems:
        raise UserError(problems)
    found = Found()
    for entry in sorted(entries, key=lambda entry: entry.path):
        _kind(found, entry).append(entry)
    trained = [entry.path for entry in found.images if entry.role == TRAIN]
    problems = _empty_roles(folder, dataset, found) + undeclared(shown(folder), trained, dataset)
    if problems:
        raise UserError(problems)
    return found


def folder_repeats(path: str) -> tuple[int, str] | None:
    """(repeats, caption) of the nearest `N_name` folder above a file, or None."""
    for part in reversed(path.split("/")[:-1]):
        match = REPEATS.fullmatch(part)
        if match:
            return int(match[1]), " ".join(match[2].split())
    return None


def named(paths: Iterable[str], separator: str = ", ") -> Wording:
    """Files in a message: the first few by name, each in one line, and how many more there are."""
    return first_few([line(path) for path in paths], NAMED, separator)


def by_stem(
    entries: Iterable[DataFile], stem: Callable[[DataFile], str] = attrgetter("stem")
) -> dict[str, list[DataFile]]:
    """Files by the stem that each goes under, its own by default."""
    stems = defaultdict(list)
    for entry in entries:
        stems[stem(entry)].append(entry)
    return stems


def role_of(path: str, dataset: Dataset) -> str:
    """The role that a file's top folder gives it."""
    top = path.partition("/")[0] if "/" in path else ""
    for role, name in folders(dataset).items():
        if name != "none" and top == unicodedata.normalize("NFC", name):
            return role
    return TRAIN


def _kind(found: Found, entry: DataFile) -> list[DataFile]:
    if entry.suffix in READ | UNREAD:
        return found.masks if entry.role == MASK else found.images
    if entry.suffix in CAPTION:
        return found.captions
    if PurePosixPath(entry.path).name == METADATA:
        return found.metadata
    return found.others


def _role_problems(dataset: Dataset) -> list[Problem]:
    given = [(KEYS[role], name) for role, name in folders(dataset).items() if name != "none"]
    return [
        Problem(
            what=f"{first} and {second} are both {name}",
            fix="give each its own sub-folder, or set one to none",
        )
        for (first, name), (second, other) in combinations(given, 2)
        if name == other
    ]


def _entries(folder: Path, dataset: Dataset) -> tuple[list[DataFile], list[Problem]]:
    entries: dict[str, DataFile] = {}
    problems: list[Problem] = []
    for path, file in sorted(walk(folder, shown(folder), problems)):
        problem = _name_problem(folder, path, entries.get(path))
        if problem:
            problems.append(problem)
        else:
            entries[path] = DataFile(path, file, role_of(path, dataset))
    return list(entries.values()), sorted(problems, key=lambda problem: str(problem.where))


def _name_problem(folder: Path, path: str, twin: DataFile | None) -> Problem | None:
    where = printable(f"{shown(folder)}/{path}")
    if where != f"{shown(folder)}/{path}":
        return Problem(where=where, what="its name is not UTF-8", fix="rename the file")
    if (size := len(path.encode())) > LONGEST_PATH:
        return Problem(
            where=where,
            what=f"its path in the data folder has {size:,} bytes",
            allowed=f"at most {LONGEST_PATH:,}",
            fix="shorten the names of its folders",
        )
    if twin is not None:
        return Problem(
            where=where,
            what="two files have this name, spelled with different Unicode accents",
            fix="rename one of them",
        )
    return None


def _empty_roles(folder: Path, dataset: Dataset, found: Found) -> list[Problem]:
    roles = {entry.role for entry in [*found.images, *found.masks]}
    problems = []
    if TRAIN not in roles:
        beside = " beside the held-out ones" if HELDOUT in roles else ""
        problems.append(
            Problem(
                where=shown(folder),
                what=f"there are no pictures to train on{beside}",
                allowed="JPEG, PNG, WebP, TIFF, BMP and AVIF files, also in sub-folders",
                fix="put your pictures there, or name their folder as `data:` in params.yaml",
            )
        )
    for role, name in folders(dataset).items():
        if name != "none" and role not in roles:
            kind = "masks" if role == MASK else "pictures"
            what = f"holds no {kind}" if (folder / name).is_dir() else "there is no such folder"
            problems.append(
                Problem(
                    where=f"{shown(folder)}/{name}",
                    what=f"{KEYS[role]} = {name}: {what}",
                    fix=f"put {kind} there, or set {KEYS[role]} to none",
                )
            )
    return problems
