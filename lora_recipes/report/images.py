"""Pictures inside the page, as data URIs no larger than they are shown."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from lora_recipes.errors import UserError
from lora_recipes.files import read_bytes

SMALL_FILE = 64 * 1024
"""Bytes. A picture that is small enough in pixels and bytes goes in as it is, without loss."""

JPEG_QUALITY = 88

TINT = (214, 40, 110)
"""Over what a mask leaves out: a red that hardly any photo is made of."""


@dataclass(frozen=True)
class Embedded:
    """A picture's data URI, with its size in pixels as it is in the page."""

    uri: str
    width: int
    height: int


def embed(path: Path, longest: int) -> Embedded:
    """A picture whose longer side is at most `longest` pixels in the page.

    Raises:
        UserError: the file is missing or damaged.
    """
    with reading(path):
        return _embed(read_bytes(path), longest)


def embed_masked(path: Path, mask: Path, longest: int) -> Embedded:
    """A picture as `embed` has it, tinted where its mask lets it count less.

    Raises:
        UserError: a file is missing or damaged.
    """
    with reading(path), Image.open(path) as image:
        whole = image.convert("RGB")
    with reading(mask), Image.open(mask) as image:
        counts = image.convert("L")
    shade = Image.blend(whole.convert("L").convert("RGB"), Image.new("RGB", whole.size, TINT), 0.6)
    shade.paste(whole, mask=counts)
    return _jpeg(shade, longest)


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Say in one form that a picture of the project cannot be read.

    Raises:
        UserError: it cannot.
    """
    try:
        yield
    except Exception as error:  # Pillow has many words for a damaged file
        raise UserError.of(
            where=str(path),
            what="cannot be read as a picture",
            fix="run `dvc repro`, which brings it back",
        ) from error


def _embed(data: bytes, longest: int) -> Embedded:
    with Image.open(io.BytesIO(data)) as image:
        small = image.convert("RGB")
        if max(image.size) <= longest and len(data) <= SMALL_FILE and image.format == "PNG":
            return Embedded(_uri("png", data), *image.size)
    return _jpeg(small, longest)


def _jpeg(picture: Image.Image, longest: int) -> Embedded:
    picture.thumbnail((longest, longest), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=JPEG_QUALITY, optimize=True)
    return Embedded(_uri("jpeg", buffer.getvalue()), *picture.size)


def side_for(count: int) -> int:
    """How many pixels each of `count` pictures may have, so that the page stays a few MB."""
    for most, side in ((48, 640), (120, 448)):
        if count <= most:
            return side
    return 320


def _uri(kind: str, data: bytes) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(data).decode('ascii')}"
