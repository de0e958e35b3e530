"""Reading and writing `.safetensors` files so that equal tensors always give equal bytes.

The safetensors library writes a header of two or more metadata keys in an order that changes
from save to save. Here the order is fixed, and headers are read without importing torch.

Format: 8 bytes little-endian header length, the header (JSON), the tensors' bytes.
Source: https://github.com/huggingface/safetensors, "Format".
"""

from __future__ import annotations

import json
import math
import os
import stat
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from lora_recipes.errors import UserError
from lora_recipes.files import atomic_file
from lora_recipes.printable import line
from lora_recipes.tree import SaidTwice, once

if TYPE_CHECKING:
    from torch import Tensor

LENGTH = 8
"""Bytes that hold the header's length, at the start of the file."""

SMALLEST_HEADER, LARGEST_HEADER = len("{}"), 100_000_000
"""Bytes. The format's own limit, so that a damaged length cannot ask for all memory."""

MOST_AXES, MOST_NUMBERS = 32, 2**48
"""Of one tensor. What numpy can always hold; no file comes near."""

MOST_TENSORS, MOST_FIELDS = 50_000, 50_000
"""Of a file, and of the texts in its header. SDXL as a whole has 2,515 tensors, and trainers write
some hundred texts about an adapter."""

_OTHERS = (
    (
        (b"PK\x03\x04", b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05"),
        "is a pickle (or a zip of one), which can run code when it is opened",
        "get the file as safetensors, or convert it with the program that wrote it",
    ),
    (
        (b"<!", b"<html", b"<HTML"),
        "is a web page, not a file of tensors",
        "log in where you fetched it, and fetch it again",
    ),
    (
        (b"version ",),
        "is the pointer that git-lfs keeps in place of a file",
        "run `git lfs pull` where it came from",
    ),
)
"""How other things begin that are met under this name, what they are, and the way out."""

BYTES_PER_VALUE = {
    "F64": 8, "I64": 8, "U64": 8,
    "F32": 4, "I32": 4, "U32": 4,
    "F16": 2, "BF16": 2, "I16": 2, "U16": 2,
    "I8": 1, "U8": 1, "BOOL": 1, "F8_E4M3": 1, "F8_E5M2": 1,
}  # fmt: skip


@dataclass(frozen=True)
class Entry:
    """Where one tensor lies in a file: `start` and `end` count from the first byte of data."""

    dtype: str
    shape: tuple[int, ...]
    start: int
    end: int


@dataclass(frozen=True)
class Header:
    """What a file says about itself; `data_start` is where the tensors' bytes begin."""

    metadata: dict[str, str]
    entries: dict[str, Entry]
    data_start: int


def write_tensors(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> None:
    """Write tensors (any device, any order) atomically; equal content gives equal bytes.

    Raises:
        UserError: the disk is full or the folder cannot be written to.
    """
    with atomic_file(path) as file:
        for block in file_blocks(tensors, metadata):
            file.write(block)


def file_blocks(tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> Iterator[bytes]:
    """The bytes of a file: its header, then each tensor.

    The widest values come first, so that each tensor lies aligned, and names are sorted.
    """
    kinds = {name: _kind(tensor) for name, tensor in tensors.items()}
    order = sorted(tensors, key=lambda name: (-BYTES_PER_VALUE[kinds[name]], name))
    header: dict[str, Any] = {"__metadata__": dict(sorted(metadata.items()))} if metadata else {}
    start = 0
    for name in order:
        end = start + tensors[name].numel() * BYTES_PER_VALUE[kinds[name]]
        shape = list(tensors[name].shape)
        header[name] = {"dtype": kinds[name], "shape": shape, "data_offsets": [start, end]}
        start = end
    yield header_bytes(header)
    for name in order:
        yield _raw(tensors[name])


def header_bytes(header: Mapping[str, Any]) -> bytes:
    """The file's first part: length and JSON, filled up with spaces to a multiple of 8 bytes."""
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text


def read_header(path: Path) -> Header:
    """Read and check a file's header; needs no torch and reads none of the tensors.

    A name or text may hold half of a surrogate pair, as JSON allows: it stays one in the answer.

    Raises:
        UserError: there is no such file, it is no safetensors file, it is cut off, or its header
            says a thing twice or holds too much.
    """
    try:
        if not stat.S_ISREG(path.stat().st_mode) and not path.is_dir():
            raise _problem(path, "is a pipe or a device, not a file")  # it could wait for ever
        with path.open("rb") as file:
            return _parse(path, file, os.fstat(file.fileno()).st_size)
    except OSError as error:
        raise UserError.of(
            where=str(path),
            what=f"cannot be read: {error.strerror or error}",
            fix="check the path",
        ) from error


def read_tensors(path: Path) -> dict[str, Tensor]:
    """All tensors of a file, in memory of their own, on the CPU.

    Raises:
        UserError: as `read_header`.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load

    read_header(path)
    try:
        tensors: dict[str, Tensor] = load(path.read_bytes())
    except (SafetensorError, KeyError) as error:  # an unknown type of number, half a character
        raise _foreign(path) from error
    return tensors


def _parse(path: Path, file: BinaryIO, size: int) -> Header:
    first = file.read(LENGTH)
    length = struct.unpack("<Q", first)[0] if len(first) == LENGTH else 0
    if not SMALLEST_HEADER <= length <= LARGEST_HEADER:
        raise _foreign(path, first)
    text = file.read(length)
    if not text.startswith(b"{"):
        raise _foreign(path)
    if len(text) < length:
        raise _truncated(path, size, LENGTH + length)
    try:
        fields = json.loads(text.decode("utf-8"), object_pairs_hook=once)
        metadata = fields.pop("__metadata__", {})
        _refuse_too_many(path, "tensors", len(fields), MOST_TENSORS)
        _refuse_too_many(path, "texts in its header", len(metadata), MOST_FIELDS)
        entries = {
            name: Entry(field["dtype"], tuple(field["shape"]), *field["data_offsets"])
            for name, field in fields.items()
        }
        sound = _is_sound(entries) and all(isinstance(v, str) for v in metadata.values())
    except SaidTwice as error:
        what = f"its header says {line(str(error))} twice, and programs differ in which one counts"
        raise _problem(path, what) from error
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise _foreign(path) from error
    if not sound:
        raise _foreign(path)
    expected = LENGTH + length + max((entry.end for entry in entries.values()), default=0)
    if size < expected:
        raise _truncated(path, size, expected)
    if size > expected:
        raise _foreign(path)
    return Header(metadata, entries, LENGTH + length)


def _refuse_too_many(path: Path, what: str, count: int, most: int) -> None:
    if count > most:
        raise UserError.of(
            where=str(path),
            what=f"has {count:,} {what}",
            allowed=f"up to {most:,}",
            fix="it is not what a trainer writes: get the file from elsewhere",
        )


def _is_sound(entries: Mapping[str, Entry]) -> bool:
    """Whether the tensors lie one behind another and each is as long as its shape says."""
    if not all(map(_is_plain, entries.values())):
        return False
    position = 0
    for entry in sorted(entries.values(), key=lambda entry: (entry.start, entry.end)):
        width = BYTES_PER_VALUE.get(entry.dtype)
        length = entry.end - entry.start
        if entry.start != position or length < 0:
            return False
        if width is not None and length != math.prod(entry.shape) * width:
            return False
        position = entry.end
    return True


def _is_plain(entry: Entry) -> bool:
    """Whether shape and offsets are whole numbers, not negative, that a tensor can have."""
    if len(entry.shape) > MOST_AXES:
        return False
    numbers = (entry.start, entry.end, *entry.shape)
    if not all(type(n) is int and n >= 0 for n in numbers):  # True is an int too
        return False
    return isinstance(entry.dtype, str) and math.prod(n or 1 for n in entry.shape) <= MOST_NUMBERS


def _foreign(path: Path, first: bytes = b"") -> UserError:
    for beginnings, what, fix in _OTHERS:
        if first.startswith(beginnings):
            return UserError.of(where=str(path), what=what, fix=fix)
    return _problem(path, "is not a safetensors file, or its header is damaged")


def _truncated(path: Path, size: int, expected: int) -> UserError:
    return _problem(path, f"is cut off: {size:,} of {expected:,} bytes")


def _problem(path: Path, what: str) -> UserError:
    return UserError.of(where=str(path), what=what, fix="fetch or make the file again")


def _kind(tensor: Tensor) -> str:
    import torch

    names = {
        torch.float64: "F64", torch.int64: "I64", torch.uint64: "U64",
        torch.float32: "F32", torch.int32: "I32", torch.uint32: "U32",
        torch.float16: "F16", torch.bfloat16: "BF16", torch.int16: "I16", torch.uint16: "U16",
        torch.int8: "I8", torch.uint8: "U8", torch.bool: "BOOL",
        torch.float8_e4m3fn: "F8_E4M3", torch.float8_e5m2: "F8_E5M2",
    }  # fmt: skip
    return names[tensor.dtype]


def _raw(tensor: Tensor) -> bytes:
    """The tensor's values in memory order, little-endian as every machine that torch runs on."""
    import torch

    flat = tensor.detach().cpu().contiguous().reshape(-1)
    return bytes(flat.view(torch.uint8).numpy())
