"""Whether a state that was read is of the form of the one whose place it is to take."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


def difference(found: Any, wanted: Any, where: str = "it") -> str:
    """Where a state differs in form: in keys, lengths, shapes or types; empty if nowhere.

    Its numbers are not looked at.

    Args:
        found: anything that a file can hold.
        wanted: mappings, lists, tensors (their device does not count), numbers, True, False, None.
        where: what the state is called.
    """
    if isinstance(wanted, dict):
        if not isinstance(found, dict) or found.keys() != wanted.keys():
            return f"{where} does not hold what belongs there"
        parts = [(found[name], wanted[name], f"{where}.{name}") for name in wanted]
    elif isinstance(wanted, list | tuple):
        if not isinstance(found, type(wanted)) or len(found) != len(wanted):
            return f"{where} is not of length {len(wanted)}"
        pairs = enumerate(zip(found, wanted, strict=True))
        parts = [(one, two, f"{where}[{n}]") for n, (one, two) in pairs]
    else:
        return "" if _is_like(found, wanted) else f"{where} is not {_described(wanted)}"
    return next((told for part in parts if (told := difference(*part))), "")


def _is_like(found: Any, wanted: Any) -> bool:
    if isinstance(wanted, Tensor):
        return _is_in_memory(found) and (found.shape, found.dtype) == (wanted.shape, wanted.dtype)
    if _is_number(wanted):  # fp16 counts an optimizer's steps on the device
        return _is_number(found) or (_is_in_memory(found) and not found.ndim)
    return type(found) is type(wanted)


def _is_in_memory(value: Any) -> bool:
    return isinstance(value, Tensor) and (value.device.type, value.layout) == ("cpu", torch.strided)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _described(wanted: Any) -> str:
    if isinstance(wanted, Tensor):
        return f"{str(wanted.dtype).removeprefix('torch.')} {list(wanted.shape)}"
    return "a number" if _is_number(wanted) else f"of the type {type(wanted).__name__}"
