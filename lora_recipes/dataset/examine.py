"""What the manifest and its checks need to know of each picture: hash, size, looks, oddities."""

from __future__ import annotations

import base64
import hashlib
import os
import shlex
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import PIL
from PIL import Image

from lora_recipes.dataset import colour, decode, limits
from lora_recipes.dataset.cache import StatCache
from lora_recipes.dataset.decode import NotRead, Unreadable
from lora_recipes.dataset.find import DataFile, named
from lora_recipes.dataset.place import shown
from lora_recipes.dataset.processes import in_order, worth_having
from lora_recipes.dataset.roles import MASK
from lora_recipes.errors import Problem
from lora_recipes.hashing import sha256_bytes
from lora_recipes.printable import line as brief
from lora_recipes.recipe.size import Size
from lora_recipes.reporting import Reporter

THUMBNAIL = 16
"""Edge of the colour thumbnail by which likeness is judged, in pixels."""

DRAFT = 256
"""Shortest side of a JPEG that was decoded as a draft, in pixels."""

GRID = 8
"""Edge of the grid of gradients by which likeness is judged."""


@dataclass(frozen=True)
class FileFacts:
    """What one picture file holds."""

    sha256: str
    """Of the file's bytes."""

    md5: str
    """Of the same bytes, as hex digits: what DVC knows the file by."""

    pixels: str
    """Hash of size and pixels, of a large JPEG as they are in a draft: equal for the same picture
    in two lossless files, or in two JPEGs that differ in nothing but what is written beside it."""

    width: int
    """Upright."""

    height: int
    """Upright."""

    format: str
    """By its bytes."""

    thumbnail: str
    """16 × 16 RGB pixels, base64."""

    gradients: str
    """128 bits as hex digits: is each pixel of a 9 × 9 grey thumbnail lighter than its right, and
    than its lower neighbour (the "difference hash" of perceptual hashing)."""

    notes: tuple[str, ...]
    """What was unusual."""

    share: float = 1.0
    """How much of the picture is opaque; of a mask, how much of it is white."""

    is_mask: bool = False
    """Whether the file was looked at as a mask."""


def examine(
    folder: Path, images: list[DataFile], cache: StatCache, report: Reporter
) -> tuple[dict[str, FileFacts], list[Problem]]:
    """The facts of each picture by path, and the problems of those that cannot be read.

    Every file is read and decoded to its end, so that a damaged one is found now and not while
    training; one that has not been touched since is not read again. One picture is in memory at a
    time, or one in each process where there is so much to do that several are started.
    """
    facts: dict[str, FileFacts] = {}
    new: list[tuple[DataFile, os.stat_result]] = []
    bad: list[tuple[DataFile, Unreadable]] = []
    for entry in images:
        try:
            before = entry.file.stat()
        except OSError as error:
            bad.append((entry, _closed(error)))
            continue
        known = _known(entry, before, cache)
        if known is None:
            new.append((entry, before))
        else:
            facts[entry.path] = known
    entries = [entry for entry, _ in new]
    processes = worth_having([decode.pixels_in(entry.file) for entry in entries])
    with (
        report.bar("read pictures", len(images), len(images) - len(new)) as bar,
        in_order(_examine_one, entries, processes) as results,
    ):
        for (entry, before), result in zip(new, results, strict=True):
            if isinstance(result, FileFacts):
                facts[entry.path] = result
                cache.put(entry.file, before, asdict(result))
            else:
                bad.append((entry, result))
            bar.advance()
    return facts, _problems(folder, bad)


def _examine_one(entry: DataFile) -> FileFacts | Unreadable:
    """The facts of a picture, or why there are none. Runs in other processes too."""
    try:
        if (size := entry.file.stat().st_size) > limits.MEMORY:
            return Unreadable(
                f"has {size:,} bytes and was not read; the most is {limits.MEMORY:,}",
                "save it as a JPEG, which takes less, or move it out of the data folder",
            )
        data = entry.file.read_bytes()
        return (facts_of_mask if entry.role == MASK else facts_of)(data, entry.suffix)
    except OSError as error:
        return _closed(error)
    except Unreadable as error:
        return error


def _closed(error: OSError) -> Unreadable:
    return Unreadable(f"cannot be read: {error.strerror or error}", "make the file readable")


def _problems(folder: Path, bad: list[tuple[DataFile, Unreadable]]) -> list[Problem]:
    """One problem a file, but one for all files of a format that is not read."""
    problems = []
    not_read: dict[str, list[DataFile]] = {}
    for entry, why in bad:
        if isinstance(why, NotRead):
            not_read.setdefault(why.reason, []).append(entry)
        else:
            where = f"{shown(folder)}/{entry.path}"
            problems.append(Problem(where=where, what=why.reason, fix=why.fix))
    return problems + [_not_read(folder, reason, files) for reason, files in not_read.items()]


def _not_read(folder: Path, reason: str, files: list[DataFile]) -> Problem:
    one = len(files) == 1
    first = f"{shown(folder)}/{files[0].path}"
    example = ""
    if not files[0].file.with_suffix(".jpg").exists():  # which the command would write over
        jpeg = f"{shown(folder)}/{files[0].stem}.jpg"
        example = f", for example `magick {_quoted(first)} {_quoted(jpeg)}`,"
    them = "it" if one else "them"
    names = named(file.path for file in files)
    return Problem(
        where=first if one else shown(folder),
        what=reason
        if one
        else f"{len(files)} pictures {reason.replace('holds', 'hold', 1)}: {names}",
        fix=f"convert {them} to JPEG or PNG{example} and take {them} out of the data folder",
    )


def _quoted(path: str) -> str:
    """A path as a shell takes it, line ends and all, in one line."""
    if path.isprintable():
        return shlex.quote(path)
    return "$" + shlex.quote(brief(path, len(path)))


def headers(folder: Path, images: list[DataFile]) -> tuple[dict[str, Size], list[Problem]]:
    """The size of each picture by path, and the problems that its first bytes tell; quickly."""
    sizes: dict[str, Size] = {}
    bad: list[tuple[DataFile, Unreadable]] = []
    for entry in images:
        try:
            sizes[entry.path] = decode.header(entry.file, entry.suffix)
        except OSError as error:
            bad.append((entry, _closed(error)))
        except Unreadable as why:
            bad.append((entry, why))
    return sizes, _problems(folder, bad)


def facts_of(data: bytes, suffix: str) -> FileFacts:
    """Look at a picture and describe it. A draft is enough: no pixel of it is trained on.

    Raises:
        Unreadable: it is none, or damaged, unsupported or too large.
    """
    return _described(data, decode.decode(data, suffix, draft=DRAFT))


def facts_of_mask(data: bytes, suffix: str) -> FileFacts:
    """Look at a mask and describe it. Whole: a draft could lose its only white pixels.

    Raises:
        Unreadable: as `facts_of`.
    """
    return replace(_described(data, decode.decode_mask(data, suffix)), is_mask=True)


def _described(data: bytes, picture: decode.Decoded) -> FileFacts:
    image = picture.image
    colours = image.resize((THUMBNAIL, THUMBNAIL), Image.Resampling.BOX)
    return FileFacts(
        sha256=sha256_bytes(data),
        md5=hashlib.md5(data, usedforsecurity=False).hexdigest(),
        pixels=decode.pixel_hash(image),
        width=picture.size[0],
        height=picture.size[1],
        format=picture.format,
        thumbnail=base64.b64encode(colours.tobytes()).decode(),
        gradients=_gradients(image),
        notes=picture.notes,
        share=1.0 if picture.alpha is None else decode.share(picture.alpha),
    )


def _gradients(image: Image.Image) -> str:
    edge = GRID + 1
    grey = np.asarray(image.resize((edge, edge), Image.Resampling.BOX).convert("L"), np.int16)
    right, below = grey[:-1, :-1] > grey[:-1, 1:], grey[:-1, :-1] > grey[1:, :-1]
    return np.packbits(np.stack([right, below])).tobytes().hex()


def version() -> str:
    """Of the cached facts: another Pillow or other code here may see something else in a file."""
    modules = (colour.__file__, decode.__file__, limits.__file__, __file__)
    sources = (Path(module).read_bytes() for module in modules)
    return f"{PIL.__version__} {sha256_bytes(b''.join(sources))}"


def unseen(images: list[DataFile], cache_file: Path) -> list[DataFile]:
    """The pictures that `examine` would have to read."""
    cache = StatCache(cache_file, version())
    new = []
    for entry in images:
        try:
            known = _known(entry, entry.file.stat(), cache) is not None
        except OSError:
            known = False
        if not known:
            new.append(entry)
    return new


def _known(entry: DataFile, stat: os.stat_result, cache: StatCache) -> FileFacts | None:
    """What is remembered of a file, if it was looked at as what it is now."""
    known = _facts(cache.get(entry.file, stat))
    return known if known and known.is_mask == (entry.role == MASK) else None


def _facts(cached: Any) -> FileFacts | None:
    """Facts from the cache, or None where they are not what they should be."""
    try:
        return FileFacts(**{**cached, "notes": tuple(cached["notes"])})
    except (TypeError, KeyError):
        return None
