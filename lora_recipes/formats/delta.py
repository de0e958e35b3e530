"""ΔW, what a module adds to a weight of the base, for each way of writing it down. No torch.

    LoRA    alpha / r · up · down
    LoCon   alpha / r · up ∘ mid ∘ down, the convolution's kernel in the middle
    LoHa    alpha / r · (w1_a · w1_b) ⊙ (w2_a · w2_b)
    LoKr    alpha / r · w1 ⊗ w2, each whole or a product; the scale is 1 where both are whole
    full    diff
    norm    w_norm, what is added to the weight of a normalization

Where alpha stands is told in `scale.py`; with peft's `use_rslora` it is divided by √r. LyCORIS'
`.scalar` multiplies on top. A module whose alpha stands nowhere has the scale 1.
DoRA gives the sum of base and ΔW another magnitude; without the base, ΔW is what it is before.

Sources: Hu et al. 2021, arXiv:2106.09685, section 4.1; Yeh et al. 2023, arXiv:2309.14859,
sections 3 and B; Liu et al. 2024, arXiv:2402.09353, equation 5. Tucker's cores as in
KohakuBlueleaf/LyCORIS, lycoris/functional/{loha,lokr}.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from lora_recipes.formats.arrays import Array
from lora_recipes.formats.layout import Module
from lora_recipes.formats.matrix import (
    MOST_NUMBERS,
    Delta,
    Hadamard,
    Kronecker,
    Matrix,
    TooLargeError,
    distance,
)
from lora_recipes.formats.scale import NONE, Scales


def rank(module: Module, arrays: Mapping[str, Array]) -> int | None:
    """The rank of a module's factors; None where its matrices are whole."""
    for role in ("down", "hada_w1_b", "lokr_w1_b", "lokr_w2_b"):
        if role in module.tensors and arrays[module.tensors[role]].ndim:
            return int(arrays[module.tensors[role]].shape[0])
    return None


def alpha(module: Module, arrays: Mapping[str, Array], scales: Scales = NONE) -> float | None:
    """What the module's rank is divided into; None where neither file nor `scales` say it."""
    values = arrays.get(module.tensors.get("alpha", ""))
    if values is not None:
        return float(values.reshape(-1)[0]) if values.size == 1 else None
    stated = scales.of(module)
    return None if stated is None else stated.alpha


def delta(module: Module, arrays: Mapping[str, Array], scales: Scales = NONE) -> Matrix | None:
    """A module's ΔW; None where its tensors are not those of a method, or do not fit together.

    Raises:
        TooLargeError: it would need too much memory.
    """
    with np.errstate(invalid="ignore", over="ignore"):
        try:
            return _delta(module, arrays, scales)
        except (ValueError, IndexError):  # shapes that do not go together
            return None


def norm(module: Module, arrays: Mapping[str, Array], scales: Scales = NONE) -> float | None:
    """‖ΔW‖, Frobenius; nan where a number is not finite, None as for `delta`.

    Raises:
        TooLargeError: it would take too long, or too much memory.
    """
    found = delta(module, arrays, scales)
    with np.errstate(invalid="ignore", over="ignore"):
        return None if found is None else distance(None, found)


def _delta(module: Module, arrays: Mapping[str, Array], scales: Scales) -> Matrix | None:
    method, get = module.method, _getter(module, arrays)
    factor = scale(module, arrays, scales)
    if method in ("LoRA", "LoCon"):
        down = _rows(get("down"))
        return _product(
            _rows(get("up")) * factor, down if method == "LoRA" else _core_times(get("mid"), down)
        )
    if method == "LoHa":
        first, second = (_hadamard_factor(get, number) for number in "12")
        if first.shape != second.shape:
            raise ValueError("products of two shapes")
        return Hadamard(Delta(first.left * factor, first.right), second)
    if method == "LoKr":
        left, right = _kronecker(get)
        return Kronecker(Delta(left.left * factor, left.right), right)
    whole = {"full": "diff", "norm": "w_norm"}.get(method)
    return Delta(_flat(get(whole))) if whole else None


def _product(left: Array, right: Array) -> Delta:
    if left.shape[1] != right.shape[0]:
        raise ValueError("factors that do not go together")
    return Delta(left, right)


def scale(module: Module, arrays: Mapping[str, Array], scales: Scales) -> float:
    """alpha / rank (or / √rank), times `.scalar`; 1 where alpha or rank is not known."""
    get = _getter(module, arrays)
    factor = 1.0
    if (scalar := get("scalar")) is not None:
        factor = float(scalar.reshape(()))  # of more than one number: does not fit
    size, stated = rank(module, arrays), scales.of(module)
    if (value := get("alpha")) is not None:
        return factor * float(value.reshape(())) / size if size else factor
    if stated is None:
        return factor
    return factor * stated.factor(size)


def _hadamard_factor(get: Any, number: str) -> Delta:
    """One of LoHa's two products; with a Tucker core the kernel is in the core.

    Without one OneTrainer keeps the kernel's axes, [out, r, 1, 1] and [r, in, k, k].
    """
    a, b = _rows(get(f"hada_w{number}_a")), _rows(get(f"hada_w{number}_b"))
    core = get(f"hada_t{number}")
    # [r, out] turned, [r, r, k, k] and [r, in] → [out, r] · [r, in · k · k]
    return _product(a, b) if core is None else _product(a.T, _core_times(core, b))


def _kronecker(get: Any) -> tuple[Delta, Delta]:
    """LoKr's two matrices, each with its kernel's axes flat."""
    left, right, core = get("lokr_w1"), get("lokr_w2"), get("lokr_t2")
    if left is not None and any(size != 1 for size in left.shape[2:]):
        raise ValueError("a kernel in the first matrix")
    if right is not None:
        second = Delta(_flat(right))
    else:
        a, b = _rows(get("lokr_w2_a")), _rows(get("lokr_w2_b"))
        second = _product(a, b) if core is None else _product(a.T, _core_times(core, b))
    if left is not None:
        return Delta(_flat(left)), second
    return _product(_rows(get("lokr_w1_a")), _rows(get("lokr_w1_b"))), second


def _core_times(core: Array, matrix: Array) -> Array:
    """[r, s, k, k] and [s, in] → [r, in · k · k]."""
    if core.shape[1] != matrix.shape[0]:
        raise ValueError("a core of another rank")
    if core.size // max(core.shape[1], 1) * matrix.shape[1] > MOST_NUMBERS:
        raise TooLargeError
    return _rows(np.moveaxis(np.tensordot(core, matrix, axes=(1, 0)), -1, 1))


def _getter(module: Module, arrays: Mapping[str, Array]) -> Any:
    """Tensors by role, in float64; None for a role that the module does not have."""

    def get(role: str) -> Array | None:
        name = module.tensors.get(role)
        if name is not None and arrays[name].size > MOST_NUMBERS:
            raise TooLargeError
        return None if name is None else arrays[name].astype(np.float64)

    return get


def _rows(factor: Array) -> Array:
    """A factor with the axes behind its first one flat."""
    return factor.reshape(factor.shape[0], -1)


def _flat(matrix: Array) -> Array:
    return matrix.reshape(matrix.shape[0], -1) if matrix.ndim else matrix.reshape(1, 1)
