"""Pictures inside the page, as data URIs no larger than they are shown."""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from lora_recipes.errors import UserError
from lora_recipes.files import read_bytes

SMALL_FILE = 64 * 1024
"""Bytes. A picture that is small enough in pixels and bytes goes in as it is, without loss."""

JPEG_QUALITY = 88


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
    try:
        return _embed(read_bytes(path), longest)
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
    small.thumbnail((longest, longest), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    small.save(buffer, "JPEG", quality=JPEG_QUALITY, optimize=True)
    return Embedded(_uri("jpeg", buffer.getvalue()), *small.size)


def side_for(count: int) -> int:
    """How many pixels each of `count` pictures may have, so that the page stays a few MB."""
    for most, side in ((48, 640), (120, 448)):
        if count <= most:
            return side
    return 320


def _uri(kind: str, data: bytes) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(data).decode('ascii')}"
