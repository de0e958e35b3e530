"""Data folders: files of many kinds under many names, links, pipes and folders."""

from __future__ import annotations

import os
import shutil
import socket
import struct
import unicodedata
import zlib
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from hypothesis import strategies as st
from PIL import Image

from lora_recipes.dataset.walk import LEFT_OUT
from tests.dataset.pictures import data_of, photo
from tests.fuzz.hostile import texts

STEMS = (
    "a", "A", "b", "e\u0301", "\u00e9", "猫", "a b", "a\nFORGED: all is well", "\x1b[2Jx",
    "\u202ex",
    "bad\udcff", ".hidden", "x" * 200, "'q'", "$(id)", "-", "%s", "a.b", "metadata", "con",
)  # fmt: skip
PLACES = (
    "", "", "", "sub/", "sub/deep/", "10_zwk toy/", "0_none/", "2024_trip/", "held/", "other/",
    "heldout/", "reg/", "@eaDir/", ".hidden/", "a\x1b[1m/", "S\u00dcB/", "3_/", "99999999999_x/",
)  # fmt: skip
SUFFIXES = (
    ".png", ".png", ".PNG", ".jpg", ".webp", ".tiff", ".bmp", ".avif", ".gif", ".heic", ".txt",
    ".caption", ".jsonl", ".csv", ".bin", "",
)  # fmt: skip
KINDS = ("file", "file", "file", "file", "file", "link", "pipe", "folder", "socket")
TARGETS = (
    "a.png", "self", "/etc/passwd", "/dev/zero", "/dev/null", "..", "../outside.png", "nowhere",
    "sub", "a.txt", "../../.secret.txt", "\x1b[2J", "x" * 300,
)  # fmt: skip


@dataclass(frozen=True)
class Item:
    """One thing in a data folder."""

    path: str
    kind: str
    content: bytes | str

    @property
    def is_left_out(self) -> bool:
        """Whether it is hidden, or lies in what a NAS makes for itself."""
        parts = self.path.split("/")
        return any(part.startswith(".") or part.casefold() in LEFT_OUT for part in parts)

    @property
    def name(self) -> str:
        """As a manifest would have it."""
        return unicodedata.normalize("NFC", self.path)


@cache
def pictures() -> tuple[bytes, ...]:
    """Pictures of all formats and modes, and what is none; each of a few pixels."""
    small = photo(12, 10)
    sound = [data_of(small, kind) for kind in ("PNG", "JPEG", "WEBP", "TIFF", "BMP", "GIF")]
    sound += [data_of(small.convert(mode), "PNG") for mode in ("L", "RGBA", "P", "1", "LA", "I;16")]
    sound += [data_of(small.convert("CMYK"), "JPEG"), data_of(photo(9, 7, 3), "PNG")]
    exif = Image.Exif()
    exif[0x0112] = 6
    sound.append(data_of(small, "JPEG", exif=exif))
    cut = [data[: len(data) // 2] for data in sound[:6]]
    flipped = [data[:30] + bytes([data[30] ^ 255]) + data[31:] for data in sound[:6]]
    heads = [
        b"\0\0\0\x18ftypheic\0\0\0\0mif1heic",
        b"\xff\x0a",
        b"\x89PNG\r\n\x1a\n",
        b"<html>",
        b"",
    ]
    return (*sound, *cut, *flipped, *heads, _bomb(60_000), _bomb(2_000), _without_palette())


def _bomb(edge: int) -> bytes:
    """A PNG of few bytes that promises edge × edge pixels."""
    header = struct.pack(">IIBBBBB", edge, edge, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", header) + _chunk(b"IDAT", zlib.compress(b"\0" * 99))
    )


def _without_palette() -> bytes:
    header = struct.pack(">IIBBBBB", 4, 4, 8, 3, 0, 0, 0)
    data = zlib.compress(b"\0" * 20)
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        _chunk(*one) for one in ((b"IHDR", header), (b"IDAT", data), (b"IEND", b""))
    )


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


@cache
def _contents() -> st.SearchStrategy[bytes]:
    words = texts().map(lambda text: text.encode("utf-8", "surrogatepass"))
    return st.one_of(st.sampled_from(pictures()), st.sampled_from(pictures()[:6]), words)


@st.composite
def items(draw: st.DrawFn) -> Item:
    """A file, mostly; its name, place and content do not care for one another."""
    place, stem = draw(_named)
    kind = draw(_kind)
    suffix = draw(_suffix)
    path = place + stem + suffix
    if path.endswith("metadata.jsonl") or kind == "link":
        content: bytes | str = draw(_target)
    else:
        content = draw(_contents())
    return Item(path, kind, content)


_named = st.tuples(st.sampled_from(PLACES), st.sampled_from(STEMS))
_kind, _suffix, _target = (st.sampled_from(all_of) for all_of in (KINDS, SUFFIXES, TARGETS))
FOLDERS = st.lists(items(), min_size=1, max_size=7, unique_by=lambda item: item.path)


def make(folder: Path, wanted: list[Item]) -> list[Item]:
    """Put the things into an empty folder; those that this file system can hold."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    return [item for item in wanted if _put(folder / item.path, item)]


def _put(path: Path, item: Item) -> bool:
    if os.path.lexists(path) or "\0" in item.path:
        return False
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if item.kind == "pipe":
            os.mkfifo(path)
        elif item.kind == "folder":
            path.mkdir()
        elif item.kind == "socket":
            with socket.socket(socket.AF_UNIX) as made:
                made.bind(str(path))
        elif item.kind == "link":
            path.symlink_to(path.name if item.content == "self" else str(item.content))
        else:
            content = item.content
            path.write_bytes(content.encode() if isinstance(content, str) else content)
    except OSError:
        return False
    return True
