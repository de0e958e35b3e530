"""The adapter's file: written whole or not at all, finite, and equal bytes for equal content."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from lora_recipes.adapter import metadata as fields_of
from lora_recipes.errors import UserError
from lora_recipes.tensors import Header, read_header, read_tensors, write_tensors
from lora_recipes.text import counted, first_few

if TYPE_CHECKING:
    from torch import Tensor

_NAMED = 3
"""How many broken modules an error names."""

__all__ = ["Header", "read_header", "read_tensors", "write"]


def write(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> None:
    """Write an adapter; the tensors add to its header what they say themselves.

    Added are the model that the adapter is for (`metadata.of_shapes`) and `sshs_model_hash`, the
    sha256 of the bytes after the header, by which kohya and A1111 recognise a file.

    Args:
        path: where to. An older file is replaced only when the new one is complete.
        tensors: float32, as `Adapted.tensors` gives them.
        metadata: as `metadata.build` gives it.

    Raises:
        UserError: a weight is not finite (the modules are named), or the disk is full. Nothing
            is written then.
    """
    _refuse_non_finite(path, tensors)
    shapes = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    write_tensors(
        path,
        tensors,
        {**metadata, **fields_of.of_shapes(shapes), "sshs_model_hash": _data_hash(tensors)},
    )


def _refuse_non_finite(path: Path, tensors: Mapping[str, Tensor]) -> None:
    broken = [name for name in sorted(tensors) if not tensors[name].isfinite().all()]
    modules = sorted({name.split(".")[0] for name in broken})
    if not modules:
        return
    named = first_few(modules, _NAMED)
    holding = counted(len(modules), "module holds", "modules hold")
    raise UserError.of(
        where=str(path),
        what=f"not written: {holding} weights that are not finite ({named})",
        allowed="finite numbers",
        fix="lower train.learning_rate, or set train.max_grad_norm: 1, and train again",
    )


def _data_hash(tensors: Mapping[str, Tensor]) -> str:
    """sha256 of the data as `write_tensors` lays it out: float32 tensors lie sorted by name."""
    data = hashlib.sha256()
    for name in sorted(tensors):
        assert str(tensors[name].dtype) == "torch.float32", f"{name} is not float32"
        data.update(tensors[name].detach().cpu().contiguous().numpy().tobytes())
    return data.hexdigest()
