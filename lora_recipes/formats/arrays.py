"""The tensors of a `.safetensors` file as numpy arrays: for looking at adapters without torch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lora_recipes.errors import UserError
from lora_recipes.printable import line
from lora_recipes.tensors import Entry, Header, read_header

Array = NDArray[Any]

LARGEST = 16 * 2**30
"""Bytes of a file that is looked at, in memory: twice an adapter of rank 1024 for all of SDXL."""

_PLAIN = {
    "F64": "<f8", "F32": "<f4", "F16": "<f2",
    "I64": "<i8", "I32": "<i4", "I16": "<i2", "I8": "i1",
    "U64": "<u8", "U32": "<u4", "U16": "<u2", "U8": "u1",
    "BOOL": "?",
}  # fmt: skip
"""The types that numpy has too."""

_EIGHT_BITS = {"F8_E4M3": (4, 3, 7, False), "F8_E5M2": (5, 2, 15, True)}
"""Bits of exponent and of mantissa, the exponent's bias, and whether infinity exists.

Source: Micikevicius et al. 2022, arXiv:2209.05433, table 1.
"""


def read_arrays(path: Path) -> tuple[Header, dict[str, Array]]:
    """A file's header and all its tensors; bfloat16 and 8-bit floats come as float32, exactly.

    Raises:
        UserError: as `read_header`, or a tensor has a type that is not known here.
    """
    header = read_header(path)
    if (size := path.stat().st_size) > LARGEST:
        raise _too_large(path, size)
    try:
        data = memoryview(path.read_bytes())[header.data_start :]
        return header, {name: _array(path, name, e, data) for name, e in header.entries.items()}
    except MemoryError as error:
        raise _too_large(path, size) from error


def _too_large(path: Path, size: int) -> UserError:
    return UserError.of(
        where=str(path),
        what=f"has {size:,} bytes, more than can be looked at here",
        allowed=f"at most {LARGEST // 2**30} GiB, and less than this machine's memory",
        fix="name an adapter; if it is one, convert it to fp16 with the tool that wrote it",
    )


def _array(path: Path, name: str, entry: Entry, data: memoryview) -> Array:
    raw = data[entry.start : entry.end]
    if entry.dtype in _PLAIN:
        values: Array = np.frombuffer(raw, _PLAIN[entry.dtype])
    elif entry.dtype == "BF16":
        values = (np.frombuffer(raw, "<u2").astype("<u4") << 16).view("<f4")
    elif entry.dtype in _EIGHT_BITS:
        values = _eight_bits(*_EIGHT_BITS[entry.dtype])[np.frombuffer(raw, "u1")]
    else:
        raise UserError.of(
            where=str(path),
            what=f"tensor {line(name)} has the type {line(entry.dtype)}, which is not known here",
            allowed=", ".join([*_PLAIN, "BF16", *_EIGHT_BITS]),
            fix="convert the file to float32 with the tool that wrote it",
        )
    return values.reshape(entry.shape)


def _eight_bits(exponent_bits: int, mantissa_bits: int, bias: int, infinite: bool) -> Array:
    """[256] float32: what each byte stands for."""
    code = np.arange(256)
    sign = np.where(code & 0x80, -1.0, 1.0)
    exponent = (code & 0x7F) >> mantissa_bits
    fraction = (code & (2**mantissa_bits - 1)) / 2**mantissa_bits
    normal = (1 + fraction) * 2.0 ** (exponent - bias)
    values = sign * np.where(exponent == 0, fraction * 2.0 ** (1 - bias), normal)
    largest = exponent == 2**exponent_bits - 1
    if infinite:
        values = np.where(largest, np.where(fraction == 0, sign * np.inf, np.nan), values)
    else:
        all_ones = 2 ** (exponent_bits + mantissa_bits) - 1
        values = np.where((code & 0x7F) == all_ones, np.nan, values)
    return values.astype("<f4")
