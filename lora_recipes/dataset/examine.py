"""What the manifest and its checks need to know of each picture: hash, size, looks, oddities."""

from __future__ import annotations

import base64
import hashlib
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import PIL
from PIL import Image

from lora_recipes.dataset import colour, decode
from lora_recipes.dataset.cache import StatCache
from lora_recipes.dataset.decode import Unreadable
from lora_recipes.dataset.find import Entry, shown
from lora_recipes.errors import Problem
from lora_recipes.hashing import sha256_bytes
from lora_recipes.reporting import Reporter

THUMBNAIL = 16
"""Edge of the colour thumbnail by which likeness is judged, in pixels."""

GRID = 8
"""Edge of the grid of gradients by which likeness is judged."""


@dataclass(frozen=True)
class Facts:
    """What one picture file holds."""

    sha256: str
    """Of the file's bytes."""

    md5: str
    """Of the same bytes, as hex digits: what DVC knows the file by."""

    pixels: str
    """Hash of size and decoded pixels: equal for the same picture in two lossless files."""

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


def examine(
    folder: Path, images: list[Entry], cache: StatCache, report: Reporter
) -> tuple[dict[str, Facts], list[Problem]]:
    """The facts of each picture by path, and the problems of those that cannot be read.

    Every file is decoded whole, so that a damaged one is found now and not while training; one
    that has not been touched since is not read again. One picture is in memory at a time.
    """
    facts: dict[str, Facts] = {}
    problems = []
    with report.bar("looking at pictures", len(images)) as bar:
        for entry in images:
            try:
                facts[entry.path] = _examine_one(entry, cache)
            except Unreadable as error:
                where = f"{shown(folder)}/{entry.path}"
                problems.append(Problem(where=where, what=error.reason, fix=error.fix))
            bar.advance()
    return facts, problems


def _examine_one(entry: Entry, cache: StatCache) -> Facts:
    try:
        before = entry.file.stat()
        known = _facts(cache.get(entry.file, before))
        if known is None:
            known = facts_of(entry.file.read_bytes(), entry.suffix)
            cache.put(entry.file, before, asdict(known))
    except OSError as error:
        raise Unreadable(
            f"cannot be read: {error.strerror or error}", "make the file readable"
        ) from error
    return known


def facts_of(data: bytes, suffix: str) -> Facts:
    """Decode a picture and describe it.

    Raises:
        Unreadable: it is none, or damaged, unsupported or too large.
    """
    picture = decode.decode(data, suffix)
    image = picture.image
    colours = image.resize((THUMBNAIL, THUMBNAIL), Image.Resampling.BOX)
    return Facts(
        sha256=sha256_bytes(data),
        md5=hashlib.md5(data, usedforsecurity=False).hexdigest(),
        pixels=decode.pixel_hash(image),
        width=image.width,
        height=image.height,
        format=picture.format,
        thumbnail=base64.b64encode(colours.tobytes()).decode(),
        gradients=_gradients(image),
        notes=picture.notes,
    )


def _gradients(image: Image.Image) -> str:
    edge = GRID + 1
    grey = np.asarray(image.resize((edge, edge), Image.Resampling.BOX).convert("L"), np.int16)
    right, below = grey[:-1, :-1] > grey[:-1, 1:], grey[:-1, :-1] > grey[1:, :-1]
    return np.packbits(np.stack([right, below])).tobytes().hex()


def version() -> str:
    """Of the cached facts: another Pillow or other code here may see something else in a file."""
    sources = (Path(module).read_bytes() for module in (colour.__file__, decode.__file__, __file__))
    return f"{PIL.__version__} {sha256_bytes(b''.join(sources))}"


def _facts(cached: Any) -> Facts | None:
    """Facts from the cache, or None where they are not what they should be."""
    try:
        return Facts(**{**cached, "notes": tuple(cached["notes"])})
    except (TypeError, KeyError):
        return None
