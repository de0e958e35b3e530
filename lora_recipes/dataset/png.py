"""PNG files that hold the pixels of a picture or a mask, and the same bytes anywhere.

The pixels are stored, not compressed: compressing took as long as decoding the picture, and what
comes out of it depends on the compressor's version.
"""

from __future__ import annotations

import struct
import zlib

import numpy as np
from PIL import Image

BLOCK = 0xFFFF
"""Bytes of the longest stored block (RFC 1951, 3.2.4)."""


def png(picture: Image.Image) -> bytes:
    """A picture of mode RGB, or a mask of mode L, as a PNG file's bytes: 3 bytes a pixel, or 1.

    Source: W3C, Portable Network Graphics (third edition), sections 5, 9 and 10.
    """
    colour, channels = {"RGB": (2, 3), "L": (0, 1)}[picture.mode]
    # 8 bits per channel, without alpha, the only compression and filtering, not interlaced
    header = struct.pack(">IIBBBBB", *picture.size, 8, colour, 0, 0, 0)
    rows = np.zeros((picture.height, 1 + channels * picture.width), np.uint8)  # 0: a row as it is
    rows[:, 1:] = np.asarray(picture).reshape(picture.height, -1)
    chunks = ((b"IHDR", header), (b"IDAT", _stored(rows.tobytes())), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(*chunk) for chunk in chunks)


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def _stored(data: bytes) -> bytes:
    """A zlib stream of stored blocks (RFC 1950; RFC 1951, 3.2.4)."""
    parts = [b"\x78\x01"]
    for start in range(0, len(data), BLOCK):
        block = data[start : start + BLOCK]
        last = start + BLOCK >= len(data)
        parts += [struct.pack("<BHH", last, len(block), len(block) ^ 0xFFFF), block]
    return b"".join([*parts, struct.pack(">I", zlib.adler32(data))])
