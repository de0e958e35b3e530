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
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from PIL import Image as Pillow

from lora_recipes.dataset.buckets import target_of
from lora_recipes.dataset.decode import Decoded, Unreadable, decode, decode_mask, pixel_hash
from lora_recipes.dataset.geometry import Placement, place
from lora_recipes.dataset.manifest import ListedPicture
from lora_recipes.dataset.place import folder_problems, shown
from lora_recipes.dataset.png import png
from lora_recipes.dataset.processes import in_order, worth_having
from lora_recipes.dataset.size_problems import size_problems
from lora_recipes.dataset.walk import walk
from lora_recipes.errors import MOST_PRINTED, Problem, UserError
from lora_recipes.files import all_or_nothing, write_bytes, write_text
from lora_recipes.hashing import sha256_bytes
from lora_recipes.pipeline import PRIOR
from lora_recipes.recipe.sections.prepare import Prepare
from lora_recipes.recipe.size import Size
from lora_recipes.reporting import Reporter
from lora_recipes.text import first_few

BLACK, WHITE = 0, 255
"""What a mask holds where nothing, and where all is learned."""

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
    """Write every picture at the training size, its mask beside it, and `index.json`.

    One picture is in memory at a time, or one in each process where there is so much to do that
    several are started. `out` is emptied first, and again if anything goes wrong.

    Args:
        folder: the data folder.
        pictures: what the dataset stage found there; each file is hashed again while it is read.
        out: `build/images`.
        report: is told the progress.
        prior: `build/prior`, the listed pictures that the base generated.

    Raises:
        UserError: pictures that are too small or of another shape (all named), files that are
            not those that the dataset stage found, or a crop that leaves nothing of a mask.
    """
    sizes = {picture.path: (picture.width, picture.height) for picture in pictures}
    if problems := size_problems(sizes, settings, report):
        raise UserError(problems)
    files = _locate(folder, pictures, prior)
    tasks = [
        (picture, files[picture.path], files[picture.mask] if picture.mask_sha256 else None)
        for picture in pictures
    ]
    processes = worth_having([width * height for width, height in sizes.values()])
    with all_or_nothing(out):
        with (
            report.bar("prepare pictures", len(tasks)) as bar,
            in_order(_Preparing(folder, settings, out), tasks, processes) as results,
        ):
            done = []
            for result in results:
                done.append(result)
                bar.advance()
        if problems := [result for result in done if isinstance(result, Problem)]:
            raise UserError(problems)
        index = {"images": done}
        text = json.dumps(index, indent=1, ensure_ascii=False, sort_keys=True)
        write_text(out / "index.json", text + "\n")


@dataclass(frozen=True)
class _Preparing:
    """The work on one picture. Runs in other processes too."""

    folder: Path
    settings: Prepare
    out: Path

    def __call__(self, task: tuple[ListedPicture, Path, Path | None]) -> dict[str, Any] | Problem:
        """Write the training picture and its mask; its entry in the index, or what is wrong."""
        listed, file, mask_file = task
        settings = self.settings
        whole = _decoded(self.folder, file, listed, settings.background)
        target = target_of(whole.size, settings)
        placement = place(whole.size, target, settings.crop, settings.seed, listed.path)
        prepared = cut(whole.image, placement, target)
        entry = _entry(listed, placement, prepared)
        write_bytes(self.out / entry["file"], png(prepared))
        mask = _mask(self.folder, mask_file, listed) if mask_file else whole.alpha
        if not listed.mask or mask is None:
            return entry
        mask = cut(mask, placement, target)
        if mask.getextrema() == (BLACK, BLACK):
            return _nothing_left(f"{shown(self.folder)}/{listed.path}")
        if mask.getextrema() != (WHITE, WHITE):  # all white is no mask
            entry |= {"mask": _file(listed.path, ".mask.png"), "mask_pixels": pixel_hash(mask)}
            write_bytes(self.out / entry["mask"], png(mask))
        return entry


def cut(picture: Pillow.Image, placement: Placement, target: Size) -> Pillow.Image:
    """Scale a picture (RGB), or the mask of one (L, of any size), and cut the target out of it.

    Masks are averaged: Lanczos would make waves around their edges.
    """
    is_mask = picture.mode == "L"
    how = Pillow.Resampling.BOX if is_mask else Pillow.Resampling.LANCZOS
    if picture.size != placement.resized:
        picture = picture.resize(placement.resized, how)
    left, top = placement.left, placement.top
    return picture.crop((left, top, left + target[0], top + target[1]))


def _nothing_left(where: str) -> Problem:
    return Problem(
        where=where,
        what="its crop leaves nothing of what its mask shows, so nothing of it would be learned",
        fix="crop it yourself around that, or set another prepare.crop",
    )


def _entry(listed: ListedPicture, placement: Placement, prepared: Pillow.Image) -> dict[str, Any]:
    return {
        "path": listed.path,
        "file": _file(listed.path),
        "pixels": pixel_hash(prepared),
        "original_size": [listed.width, listed.height],
        "crop": [placement.top, placement.left],
        "size": list(prepared.size),
    }


def _file(path: str, ending: str = ".png") -> str:
    """What the training picture of a picture is called. Others never end in 32 digits and .png."""
    folder, name = posixpath.split(path)
    if len(f"{name}{ending}".encode()) <= LONGEST_NAME:
        return f"{path}{ending}"
    return posixpath.join(folder, hashlib.sha256(path.encode()).hexdigest()[:32] + ending)


def _locate(folder: Path, pictures: Sequence[ListedPicture], prior: Path | None) -> dict[str, Path]:
    """The listed files on this disk, however it spells their accents."""
    problems = folder_problems(folder)
    if problems:
        raise UserError(problems)
    files = dict(walk(folder, shown(folder), problems))
    if prior is not None:
        files |= {f"{PRIOR}/{file.name}": file for file in prior.glob("*.png")}
    named = [picture.path for picture in pictures]
    named += [picture.mask for picture in pictures if picture.mask_sha256]
    missing = [path for path in named if path not in files]
    if missing and problems:
        raise UserError(problems)
    if missing:
        raise UserError.of(
            where=shown(folder),
            what=f"gone since the dataset stage looked: {first_few(missing, MOST_PRINTED)}",
            fix="put them back, or run `dvc repro`, which looks again",
        )
    return files


def _decoded(folder: Path, file: Path, listed: ListedPicture, background: str) -> Decoded:
    """One picture of the data folder."""
    look = partial(decode, background=background)
    where = f"{shown(folder)}/{listed.path}" if folder in file.parents else listed.path
    picture = _read(where, file, listed.sha256, look)
    assert picture.size == (listed.width, listed.height), "the manifest's sizes are those decoded"
    return picture


def _mask(folder: Path, file: Path, listed: ListedPicture) -> Pillow.Image | None:
    """The mask of a picture, from a file of its own."""
    where = f"{shown(folder)}/{listed.mask}"
    return _read(where, file, listed.mask_sha256, decode_mask).alpha


def _read(where: str, file: Path, sha256: str, look: Callable[[bytes], Decoded]) -> Decoded:
    """Read one file once: its hash and its pixels are of the same bytes."""
    try:
        data = file.read_bytes()
        if sha256_bytes(data) != sha256:
            raise Unreadable(
                "changed since the dataset stage looked", "run `dvc repro`, which looks again"
            )
        return look(data)
    except OSError as error:
        what = f"cannot be read: {error.strerror or error}"
        raise UserError.of(where=where, what=what, fix="make the file readable") from error
    except Unreadable as error:
        raise UserError.of(where=where, what=error.reason, fix=error.fix) from error
