"""From pictures to training pixels: decoded, scaled, cropped and written without loss.

Scaling is Pillow's Lanczos filter on the gamma-encoded 8-bit values, over the whole picture. Large
JPEGs are decoded whole too: libjpeg's scaled decoding would halve that time, but even where it left
twice the pixels that are needed, one photo in ten then differed by less than 41 dB from the whole
one (41 photos; median 52, worst 38).
"""

from __future__ import annotations

import hashlib
import json
import posixpath
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image as Pillow

from lora_recipes.dataset.decode import MAX_PIXELS, Unreadable, decode, pixel_hash
from lora_recipes.dataset.geometry import (
    Placement,
    cover,
    fits,
    is_smaller,
    place,
)
from lora_recipes.dataset.manifest import ListedPicture
from lora_recipes.dataset.place import folder_problems, shown
from lora_recipes.dataset.png import png
from lora_recipes.dataset.processes import in_order, worth_having
from lora_recipes.dataset.size import shape
from lora_recipes.dataset.walk import walk
from lora_recipes.errors import MOST_PRINTED, Problem, UserError
from lora_recipes.files import all_or_nothing, write_bytes, write_text
from lora_recipes.hashing import sha256_bytes
from lora_recipes.pipeline import PRIOR
from lora_recipes.recipe.sections.prepare import Prepare
from lora_recipes.recipe.size import Size, size_of
from lora_recipes.reporting import Reporter
from lora_recipes.text import first_few

LONGEST_NAME = 255 - len("..x2b_81k0.tmp")
"""Bytes of a file's name that leave room for what it is called until it is complete."""


def prepare(
    folder: Path,
    pictures: Sequence[ListedPicture],
    settings: Prepare,
    out: Path,
    report: Reporter,
    *,
    prior: Path | None = None,
) -> None:
    """Write every picture at the training size, and `index.json`.

    One picture is in memory at a time, or one in each process where there is so much to do that
    several are started. `out` is emptied first, and again if anything goes wrong.

    Args:
        folder: the data folder.
        pictures: what the dataset stage found there; each file is hashed again while it is read.
        out: `build/images`.
        report: is told the progress.
        prior: `build/prior`, the listed pictures that the base generated.

    Raises:
        UserError: pictures that are too small or of another shape (all named), or files that are
            not those that the dataset stage found.
    """
    sizes = {picture.path: (picture.width, picture.height) for picture in pictures}
    if problems := size_problems(sizes, settings, report):
        raise UserError(problems)
    files = _locate(folder, pictures, prior)
    tasks = [(picture, files[picture.path]) for picture in pictures]
    processes = worth_having([width * height for width, height in sizes.values()])
    with all_or_nothing(out):
        with (
            report.bar("prepare pictures", len(tasks)) as bar,
            in_order(_Preparing(folder, settings, out), tasks, processes) as results,
        ):
            entries = []
            for entry in results:
                entries.append(entry)
                bar.advance()
        index = {"images": entries}
        text = json.dumps(index, indent=1, ensure_ascii=False, sort_keys=True)
        write_text(out / "index.json", text + "\n")


@dataclass(frozen=True)
class _Preparing:
    """The work on one picture. Runs in other processes too."""

    folder: Path
    settings: Prepare
    out: Path

    def __call__(self, task: tuple[ListedPicture, Path]) -> dict[str, Any]:
        """Write the training picture; its entry in the index."""
        listed, file = task
        settings, target = self.settings, size_of(self.settings.resolution)
        pixels = _pixels(self.folder, file, listed, settings.background)
        placement = place(pixels.size, target, settings.crop, settings.seed, listed.path)
        prepared = cut(pixels, placement, target)
        entry = _entry(listed, placement, prepared)
        write_bytes(self.out / entry["file"], png(prepared))
        return entry


def cut(picture: Pillow.Image, placement: Placement, target: Size) -> Pillow.Image:
    """Scale an RGB picture and cut the target out of it."""
    if picture.size != placement.resized:
        picture = picture.resize(placement.resized, Pillow.Resampling.LANCZOS)
    left, top = placement.left, placement.top
    return picture.crop((left, top, left + target[0], top + target[1]))


def _entry(listed: ListedPicture, placement: Placement, prepared: Pillow.Image) -> dict[str, Any]:
    return {
        "path": listed.path,
        "file": _file(listed.path),
        "pixels": pixel_hash(prepared),
        "original_size": [listed.width, listed.height],
        "crop": [placement.top, placement.left],
        "size": list(prepared.size),
    }


def _file(path: str) -> str:
    """What the training picture of a picture is called. Others never end in 32 digits and .png."""
    folder, name = posixpath.split(path)
    if len(f"{name}.png".encode()) <= LONGEST_NAME:
        return f"{path}.png"
    return posixpath.join(folder, hashlib.sha256(path.encode()).hexdigest()[:32] + ".png")


def size_problems(sizes: dict[str, Size], settings: Prepare, report: Reporter) -> list[Problem]:
    """What keeps pictures of these sizes, by path, from becoming training pictures."""
    target = size_of(settings.resolution)
    small = [path for path, size in sizes.items() if is_smaller(size, target)]
    wanted = f"{target[0]}×{target[1]}"
    problems = []
    if small and not settings.upscale:
        problems.append(
            Problem(
                what=f"pictures smaller than prepare.resolution, {wanted}: "
                + _with_sizes(small, sizes),
                fix="take larger originals, lower prepare.resolution, or set prepare.upscale: true",
            )
        )
    elif small:
        report.warn(f"enlarged to {wanted}, which teaches their blur: {_with_sizes(small, sizes)}")
    odd = [path for path, size in sizes.items() if not fits(size, target)]
    if odd and settings.crop == "none":
        problems.append(
            Problem(
                what=f"pictures that are not {shape(target)}, the shape of prepare.resolution "
                f"({wanted}): {_with_sizes(odd, sizes)}",
                fix="set prepare.crop: center (or random), or crop them yourself",
            )
        )
    narrow = [path for path, size in sizes.items() if _area(cover(size, target)) > MAX_PIXELS]
    if narrow:
        problems.append(
            Problem(
                what=f"pictures so narrow that scaled to {wanted} they have more than "
                f"{MAX_PIXELS:,} pixels: {_with_sizes(narrow, sizes)}",
                fix="crop them yourself",
            )
        )
    return problems


def _with_sizes(paths: list[str], sizes: dict[str, Size]) -> str:
    told = [f"{path} ({sizes[path][0]}×{sizes[path][1]})" for path in paths]
    return first_few(told, MOST_PRINTED)


def _area(size: Size) -> int:
    return size[0] * size[1]


def _locate(folder: Path, pictures: Sequence[ListedPicture], prior: Path | None) -> dict[str, Path]:
    """The listed files on this disk, however it spells their accents."""
    problems = folder_problems(folder)
    if problems:
        raise UserError(problems)
    files = dict(walk(folder, shown(folder), problems))
    if prior is not None:
        files |= {f"{PRIOR}/{file.name}": file for file in prior.glob("*.png")}
    missing = [picture.path for picture in pictures if picture.path not in files]
    if missing and problems:
        raise UserError(problems)
    if missing:
        raise UserError.of(
            where=shown(folder),
            what=f"gone since the dataset stage looked: {first_few(missing, MOST_PRINTED)}",
            fix="put them back, or run `dvc repro`, which looks again",
        )
    return files


def _pixels(folder: Path, file: Path, listed: ListedPicture, background: str) -> Pillow.Image:
    """Read one file once: its hash and its pixels are of the same bytes."""
    where = f"{shown(folder)}/{listed.path}" if folder in file.parents else shown(file)
    try:
        data = file.read_bytes()
        if sha256_bytes(data) != listed.sha256:
            raise Unreadable(
                "changed since the dataset stage looked", "run `dvc repro`, which looks again"
            )
        picture = decode(data, background=background).image
    except OSError as error:
        what = f"cannot be read: {error.strerror or error}"
        raise UserError.of(where=where, what=what, fix="make the file readable") from error
    except Unreadable as error:
        raise UserError.of(where=where, what=error.reason, fix=error.fix) from error
    assert picture.size == (listed.width, listed.height), "the manifest's sizes are those decoded"
    return picture
