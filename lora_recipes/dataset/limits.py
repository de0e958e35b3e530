"""What a picture may cost: memory and scans, told by its header; text in PNGs is not read."""

from __future__ import annotations

import re
import struct

from PIL import Image, PngImagePlugin

MEMORY = 600 * 2**20
"""Bytes that decoding one picture may take; with the program itself less than 700 MiB."""

MOST_SCANS = 100
"""Of a progressive JPEG; each is a pass over the whole picture. Encoders write about 10."""

LONGEST_PROFILE = 16 * 2**20
"""Bytes of a PNG's colour profile or text, decompressed."""

PngImagePlugin.MAX_TEXT_CHUNK = LONGEST_PROFILE
TOO_LONG = "MAX_TEXT"
"""What stands in Pillow's message if a text or profile is longer."""

ORIENTATION = 0x0112
"""The EXIF tag."""

_MARKER = re.compile(rb"\xff[\x01-\xcf\xd8-\xfe]")
_START, _END, _SCAN, _ALONE = 0xD8, 0xD9, 0xDA, 0x01
_TEXT = (b"tEXt", b"zTXt", b"iTXt")
_OF_USE = (b"Raw profile type", b"XML:com.adobe.xmp")
"""Keywords of texts in which EXIF, and so the orientation, may stand."""


def bytes_per_pixel(image: Image.Image) -> int:
    """The most that decoding and converting take at once, by format and mode; an estimate.

    Pillow keeps 4 bytes a pixel; turning it upright, a profile and an alpha each make a copy.
    WebP's and AVIF's decoders keep the picture several times.
    """
    decoder = {"WEBP": 10, "AVIF": 13}.get(str(image.format), 0)
    if "A" in image.mode or "a" in image.mode or "transparency" in image.info:
        return decoder + 17
    if image.mode != "RGB" or "icc_profile" in image.info:
        return decoder + 12
    upright = image.format in {"JPEG", "MPO"} and ORIENTATION not in image.getexif()
    return decoder + (5 if upright else 8)


def scans(data: bytes) -> int:
    """How many scans a JPEG has. Source: ITU-T T.81, annex B."""
    count, at = 0, 2
    while marker := _MARKER.search(data, at):
        kind, at = marker[0][1], marker.end()
        if kind == _END:
            break
        count += kind == _SCAN
        if kind not in (_START, _ALONE):
            at += max(2, int.from_bytes(data[at : at + 2]))
    return count


def without_text(png: bytes) -> bytes:
    """A PNG without the texts that nobody needs here, such as a workflow of many megabytes."""
    parts, kept, at = [], 8, 8
    while at + 8 <= len(png):
        length, kind = struct.unpack_from(">I4s", png, at)
        end = at + 12 + length
        if kind in _TEXT and not png.startswith(_OF_USE, at + 8):
            parts.append(png[kept:at])
            kept = end
        at = end
    return png[:8] + b"".join([*parts, png[kept:]]) if parts else png
