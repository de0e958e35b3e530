"""Pictures inside the page, as data URIs no larger than they are shown."""

from __future__ import annotations

import base64
import errno
import io
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

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
        OSError: with the file's name: it is missing or damaged.
    """
    data = path.read_bytes()
    try:
        with Image.open(io.BytesIO(data)) as image:
            small = image.convert("RGB")
            if max(image.size) <= longest and len(data) <= SMALL_FILE and image.format == "PNG":
                return Embedded(_uri("png", data), *image.size)
    except (OSError, SyntaxError) as error:  # so Pillow calls a damaged PNG
        raise OSError(errno.EIO, "it is damaged", str(path)) from error
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
