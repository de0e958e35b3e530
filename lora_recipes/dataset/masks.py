"""Which part of each picture is learned: from its own alpha, or from a picture of its name.

Only the subject's pictures have masks: regularization pictures are learned whole, held-out and
control pictures measured whole, so that their figures mean the same with and without masks.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from lora_recipes.dataset.examine import FileFacts
from lora_recipes.dataset.find import DataFile, Found, by_stem, named
from lora_recipes.dataset.manifest import Image
from lora_recipes.dataset.place import shown
from lora_recipes.dataset.roles import ALPHA, NEVER_TRAINED, REGULARIZATION, TRAIN
from lora_recipes.dataset.size import shape
from lora_recipes.errors import Problem, Wording
from lora_recipes.printable import line as brief
from lora_recipes.recipe.sections.dataset import Dataset
from lora_recipes.recipe.size import Size
from lora_recipes.reporting import Reporter
from lora_recipes.text import counted

_WHOLE: tuple[tuple[tuple[str, ...], Wording], ...] = (
    (NEVER_TRAINED, "held-out and control pictures are not used, which are measured whole"),
    ((REGULARIZATION,), "regularization pictures are not used, which are learned whole"),
)
"""By roles, what becomes of masks that are not used."""

HARDLY = 0.01
"""Of a picture. A smaller part is worth a look: a few pixels then decide what is learned of it."""

Pairs = dict[str, DataFile]
"""Picture's path → the file of its mask."""


@dataclass(frozen=True)
class Mask:
    """Where one picture's mask is from, and how much of the picture it lets count."""

    source: str
    """`alpha`, or the path of a file in the data folder."""

    sha256: str
    """Of that file; empty for `alpha`, which the picture's own hash covers."""

    share: float
    """Of the whole picture, above 0 up to 1."""


def masks(
    folder: Path, found: Found, facts: Mapping[str, FileFacts], dataset: Dataset
) -> tuple[dict[str, Mask], list[Problem]]:
    """The masks of pictures to train on, by picture's path, and whatever stands against them.

    Args:
        facts: of pictures and of masks, as far as they can be read.
    """
    if dataset.masks == "none":
        return {}, []
    if dataset.masks == ALPHA:
        return _from_alpha(folder, found, facts)
    pairs, problems = paired(folder, found)
    sizes = {path: (fact.width, fact.height) for path, fact in facts.items()}
    problems += shape_problems(folder, pairs, sizes)
    made = {}
    for path, file in pairs.items():
        fact = facts.get(file.path)
        if fact is None:
            continue
        if fact.share == 0:
            problems.append(_black(f"{shown(folder)}/{file.path}", "is black everywhere"))
        made[path] = Mask(file.path, fact.sha256, fact.share)
    return made, problems


def paired(folder: Path, found: Found) -> tuple[Pairs, list[Problem]]:
    """Which mask belongs to which picture to train on, by names alone."""
    images, files = by_stem(found.images), by_stem(found.masks, _partner)
    pairs: Pairs = {}
    problems, strays = [], []
    for stem, (first, *more) in sorted(files.items()):
        partners = images.get(stem, [])
        if not partners:
            strays += [first.path, *(entry.path for entry in more)]
        elif more or len(partners) > 1:
            problems.append(_ambiguous(folder, partners, [first, *more]))
        elif partners[0].role == TRAIN:
            pairs[partners[0].path] = first
    if strays:
        top = strays[0].partition("/")[0]
        belongs = counted(len(strays), "mask belongs", "masks belong")
        problems.append(
            Problem(
                where=f"{shown(folder)}/{top}",
                what=f"{belongs} to no picture: {named(strays)}",
                fix="give each the path and name of its picture, whose suffix may be another, "
                f"such as {top}/cat.png for cat.jpg, or move it out of the data folder",
            )
        )
    return pairs, problems


def shape_problems(folder: Path, pairs: Pairs, sizes: Mapping[str, Size]) -> list[Problem]:
    """The masks that are not shaped as their pictures, both upright."""
    problems = []
    for path, file in pairs.items():
        picture, mask = sizes.get(path), sizes.get(file.path)
        if picture is None or mask is None or same_shape(mask, picture):
            continue
        size = f"{picture[0]}×{picture[1]}"
        turned = same_shape(mask, picture[::-1])
        fix = "turn it as the picture stands upright" if turned else f"save it at {size}"
        problems.append(
            Problem(
                where=f"{shown(folder)}/{file.path}",
                what=f"is {mask[0]}×{mask[1]}, but its picture {brief(path)} {size}",
                allowed=f"{size}, or the same shape ({shape(picture)}) in another size",
                fix=fix,
            )
        )
    return problems


def same_shape(size: Size, other: Size) -> bool:
    """Whether two sizes are of one shape, to less than a pixel of the smaller one's rounding."""
    off = abs(size[0] * other[1] - size[1] * other[0])
    return off < max(*size, *other)


def tell_masks(found: Found, images: list[Image], dataset: Dataset, report: Reporter) -> None:
    """Say how many pictures have one, how much counts, and which are learned whole."""
    if dataset.masks == "none":
        return
    seen = "; what is transparent is seen all the same, as prepare.background"
    report.say(f"masks: {in_words(images)}{seen if dataset.masks == ALPHA else ''}")
    whole = [image.path for image in images if image.role == TRAIN and not image.mask]
    if whole:
        without = f"{counted(len(whole), 'picture')} without a mask, learned whole"
        report.warn(f"{without}: {named(whole)}")
    small = [image for image in images if image.mask and image.mask_share < HARDLY]
    if small:
        told = [f"{image.path} ({image.mask_share:.2%})" for image in small]
        report.warn(f"masks that leave hardly anything to learn: {named(told)}")
    for roles, whole_too in _WHOLE:
        stems = {entry.stem for entry in found.images if entry.role in roles}
        unused = [entry.path for entry in found.masks if _partner(entry) in stems]
        if unused:
            report.say(f"masks of {whole_too}: {named(unused)}")


def in_words(images: Iterable[Image]) -> Wording:
    """How many pictures have a mask, and the share of their area that counts.

    Empty where none has one.
    """
    trained = [image for image in images if image.role == TRAIN]
    masked = [image for image in trained if image.mask]
    if not masked:
        return ""
    share = sum(image.mask_share for image in masked) / len(masked)
    have = f"{len(masked)} of {counted(len(trained), 'picture')} to train on"
    return f"{have}; {share:.0%} of their area counts"


def _from_alpha(
    folder: Path, found: Found, facts: Mapping[str, FileFacts]
) -> tuple[dict[str, Mask], list[Problem]]:
    known = {
        entry.path: facts[entry.path]
        for entry in found.images
        if entry.role == TRAIN and entry.path in facts
    }
    clear = {path: fact.share for path, fact in known.items() if fact.share < 1}
    if known and not clear:
        return {}, [
            Problem(
                where=shown(folder),
                what=f"dataset.masks = {ALPHA}, but no picture to train on is transparent anywhere",
                fix="cut out what is not to be learned and save as PNG or WebP, or name a "
                "sub-folder of masks, or set dataset.masks to none",
            )
        ]
    problems = [
        _black(f"{shown(folder)}/{path}", "is transparent everywhere")
        for path, share in clear.items()
        if share == 0
    ]
    return {path: Mask(ALPHA, "", share) for path, share in clear.items()}, problems


def _black(where: str, what: str) -> Problem:
    return Problem(
        where=where,
        what=f"{what}, so nothing of the picture would be learned",
        allowed="white or opaque where the picture is to be learned, at least in a part",
        fix="draw it again (white is learned, black is not), or move the picture away",
    )


def _ambiguous(folder: Path, pictures: list[DataFile], files: list[DataFile]) -> Problem:
    if len(files) > 1:
        return Problem(
            where=f"{shown(folder)}/{pictures[0].path}",
            what=f"has two masks: {named((entry.path for entry in files), ' and ')}",
            fix="keep one of them",
        )
    return Problem(
        where=f"{shown(folder)}/{files[0].path}",
        what=f"could belong to {named((entry.path for entry in pictures), ' or ')}",
        fix="rename one of the pictures, and give each a mask of its own",
    )


def _partner(mask: DataFile) -> str:
    """The stem of the picture that a mask belongs to: its own, below the folder of masks."""
    return mask.stem.partition("/")[2]
