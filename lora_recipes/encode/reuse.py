"""What was encoded once is not encoded again: `.lora/encoded/<kind>/<key>.safetensors`.

DVC empties a stage's output folder before it runs, so reuse lives outside of it. An entry is used
only if its content still has the hash that was written with it; anything else is made again.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from lora_recipes.errors import UserError
from lora_recipes.hashing import digest, sha256_bytes
from lora_recipes.tensors import read_header, read_tensors, write_tensors

CONTENT = "content"
"""The metadata key that holds the hash of an entry's tensors and of its other metadata."""


@dataclass(frozen=True)
class Encoded:
    """Tensors on the CPU, and what was noted about them."""

    tensors: dict[str, Tensor]
    notes: dict[str, str]


@dataclass(frozen=True)
class Reuse:
    """Entries of one kind with one cache key.

    Args:
        folder: where the entries lie.
        cache_key: everything besides the input that the bytes depend on: the encoder's hash, the
            code's, the device, the packages.
    """

    folder: Path
    cache_key: Mapping[str, object]

    def path(self, source: str) -> Path:
        """The file for one input: pixels by their hash, captions by their text."""
        key = digest({"source": source, "cache_key": dict(self.cache_key)})
        return self.folder / f"{key.removeprefix('sha256:')}.safetensors"

    def get(self, source: str) -> Encoded | None:
        """The entry, or None if there is none or it is damaged."""
        path = self.path(source)
        if not path.is_file():
            return None
        try:
            notes = read_header(path).metadata
            tensors = read_tensors(path)
        except UserError:
            return None
        content = notes.pop(CONTENT, "")
        return Encoded(tensors, notes) if content == _content(tensors, notes) else None

    def put(self, source: str, encoded: Encoded) -> None:
        """Keep an entry, atomically: parallel runs may write the same one."""
        content = _content(encoded.tensors, encoded.notes)
        with suppress(UserError):  # it cannot be written: only slower
            write_tensors(self.path(source), encoded.tensors, {**encoded.notes, CONTENT: content})


def _content(tensors: Mapping[str, Tensor], notes: Mapping[str, str]) -> str:
    hashes = {
        name: [list(tensor.shape), str(tensor.dtype), _hash(tensor)]
        for name, tensor in tensors.items()
    }
    return digest({"tensors": hashes, "notes": dict(notes)})


def _hash(tensor: Tensor) -> str:
    flat = tensor.detach().cpu().contiguous().reshape(-1)
    return sha256_bytes(bytes(flat.view(torch.uint8).numpy()))
