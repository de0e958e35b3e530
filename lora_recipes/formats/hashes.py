"""The hashes by which an adapter file is known: of its bytes, and of its tensors alone."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lora_recipes.formats.arrays import Array, read_arrays
from lora_recipes.hashing import canonical_json
from lora_recipes.tensors import Header

SHORT = 16
"""Hex digits of a hash where a person has to read it in a table: 64 bits."""


@dataclass(frozen=True)
class FileHashes:
    """What other programs and this one call the file."""

    sha256: str
    """Of the whole file, hex. Its first 10 digits are civitai's AutoV2."""

    md5: str
    """Of the whole file, hex: DVC's name for it."""

    data: str
    """sha256 of the bytes behind the header, hex: kohya's `sshs_model_hash`; its first 12 digits
    are civitai's and A1111's AutoV3."""

    tensors: str
    """`tensors_hash`."""


def file_hashes(path: Path, header: Header, arrays: Mapping[str, Array]) -> FileHashes:
    """All hashes of a file, whose header and tensors were read."""
    with path.open("rb") as file:
        md5 = hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
        file.seek(0)
        whole = hashlib.file_digest(file, "sha256").hexdigest()
        file.seek(header.data_start)
        data = hashlib.file_digest(file, "sha256").hexdigest()
    return FileHashes(sha256=whole, md5=md5, data=data, tensors=tensors_hash(arrays))


def tensors_hash(arrays: Mapping[str, Array]) -> str:
    """sha256 of the tensors, whatever the header says and in which order they lie; hex.

    Over names, shapes and float32 values, by name. So a lossless change of type keeps it, and
    float16 made from float32 does not.
    """
    state = hashlib.sha256()
    for name in sorted(arrays):
        values = arrays[name]
        state.update(_said(name, values))
        with np.errstate(over="ignore", invalid="ignore"):  # float64 of 1e300 is hashed as inf
            state.update(values.astype("<f4").tobytes())
    return state.hexdigest()


def _said(name: str, values: Array) -> bytes:
    """Half of a surrogate pair in a name has no UTF-8 of its own; it is hashed as what it is."""
    return canonical_json([name, list(values.shape)]).encode("utf-8", "surrogatepass")


def short_tensors(arrays: Mapping[str, Array]) -> str:
    """The tensors' hash as `out/environment.json` keeps it."""
    return tensors_hash(arrays)[:SHORT]


def short_recipe(metadata: Mapping[str, str]) -> str:
    """The hash of the recipe's identity as `out/environment.json` keeps it; empty without one."""
    return short_hash(metadata.get("lora_recipes.hash", ""))


def short_hash(text: str) -> str:
    """`sha256:<hex>` as `out/environment.json` keeps it."""
    return text.removeprefix("sha256:")[:SHORT]


def identity(path: Path) -> dict[str, str]:
    """What an adapter is known by whatever becomes of its header, and of its precision."""
    header, arrays = read_arrays(path)
    return {
        "tensors_sha256": short_tensors(arrays),
        "recipe_sha256": short_recipe(header.metadata),
    }
