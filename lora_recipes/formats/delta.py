"""ΔW, what a module adds to a weight of the base, for each way of writing it down. No torch.

    LoRA    alpha / r · up · down
    LoCon   alpha / r · up ∘ mid ∘ down, the convolution's kernel in the middle
    LoHa    alpha / r · (w1_a · w1_b) ⊙ (w2_a · w2_b)
    LoKr    alpha / r · w1 ⊗ w2, each whole or a product; the scale is 1 where both are whole
    full    diff

DoRA gives the sum of base and ΔW another magnitude; without the base, ΔW is what it is before.
A file without `.alpha` has the scale 1.

Sources: Hu et al. 2021, arXiv:2106.09685, section 4.1; Yeh et al. 2023, arXiv:2309.14859,
sections 3 and B; Liu et al. 2024, arXiv:2402.09353, equation 5. Tucker's cores as in
KohakuBlueleaf/LyCORIS, lycoris/functional/{loha,lokr}.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from lora_recipes.formats.arrays import Array
from lora_recipes.formats.layout import Module


@dataclass(frozen=True)
class Delta:
    """ΔW as a matrix [out, in · kernel], float64: whole, or as the product of two factors."""

    left: Array
    """[out, r] already scaled, or the whole matrix."""

    right: Array | None = None
    """[r, in · kernel]; None where `left` is the whole."""

    @property
    def shape(self) -> tuple[int, int]:
        """Of the whole matrix."""
        wide = self.left if self.right is None else self.right
        return self.left.shape[0], wide.shape[1]

    def whole(self) -> Array:
        """The matrix itself."""
        return self.left if self.right is None else self.left @ self.right


def rank(module: Module, arrays: Mapping[str, Array]) -> int | None:
    """The rank of a module's factors; None where its matrices are whole."""
    for role in ("down", "hada_w1_b", "lokr_w1_b", "lokr_w2_b"):
        if role in module.tensors and arrays[module.tensors[role]].ndim:
            return int(arrays[module.tensors[role]].shape[0])
    return None


def alpha(module: Module, arrays: Mapping[str, Array]) -> float | None:
    """What the module's rank is divided into; None where the file does not say."""
    values = arrays.get(module.tensors.get("alpha", ""))
    return float(values.reshape(-1)[0]) if values is not None and values.size == 1 else None


def delta(module: Module, arrays: Mapping[str, Array]) -> Delta | None:
    """A module's ΔW; None where its tensors are not those of a method, or do not fit together."""
    with np.errstate(invalid="ignore", over="ignore"):
        try:
            return _delta(module, arrays)
        except (ValueError, IndexError):  # shapes that do not go together
            return None


def norm(module: Module, arrays: Mapping[str, Array]) -> float | None:
    """‖ΔW‖, Frobenius; nan where a number is not finite, None as for `delta`."""
    if module.method == "LoKr":  # ‖a ⊗ b‖ = ‖a‖ · ‖b‖, without forming it
        with np.errstate(invalid="ignore", over="ignore"):
            try:
                left, right = _kronecker(module, arrays)
            except ValueError:
                return None
            return float(np.linalg.norm(left) * np.linalg.norm(right)) * _scale(module, arrays)
    return None if (found := delta(module, arrays)) is None else distance(None, found)


def distance(old: Delta | None, new: Delta | None) -> float:
    """‖new - old‖; one that is missing counts as 0.

    A difference of products is one product of factors laid side by side, [up', -up] · [down';
    down]. QR of each leaves a small product of the same norm, and subtracts before anything is
    squared.
    """
    if old is None or new is None:
        one = old or new
        return 0.0 if one is None else _size(one)
    if old.shape != new.shape:
        return float("inf")
    if old.right is None or new.right is None:
        return _size(Delta(new.whole() - old.whole()))
    if np.array_equal(old.left, new.left) and np.array_equal(old.right, new.right):
        return 0.0
    return _size(Delta(np.hstack([new.left, -old.left]), np.vstack([new.right, old.right])))


def _size(one: Delta) -> float:
    if one.right is None:
        return float(np.linalg.norm(one.left)) if np.isfinite(one.left).all() else float("nan")
    if not (np.isfinite(one.left).all() and np.isfinite(one.right).all()):
        return float("nan")
    left: Any = np.linalg.qr(one.left, mode="r")
    right: Any = np.linalg.qr(one.right.T, mode="r")
    return float(np.linalg.norm(left @ right.T))


def _delta(module: Module, arrays: Mapping[str, Array]) -> Delta | None:
    method, get = module.method, _getter(module, arrays)
    scale = _scale(module, arrays)
    if method == "LoRA":
        up, down = get("up"), get("down")
        left, right = up.reshape(up.shape[0], -1) * scale, down.reshape(down.shape[0], -1)
        return _product(left, right)
    if method == "LoCon":
        up, down, mid = get("up"), get("down"), get("mid")
        up, down = up.reshape(up.shape[0], -1), down.reshape(down.shape[0], -1)
        inner = np.einsum("rs...,si->ri...", mid, down)
        return _product(up * scale, inner.reshape(inner.shape[0], -1))
    if method == "LoHa":
        first, second = (_hadamard_factor(get, number) for number in "12")
        return Delta(_flat(scale * first * second)) if first.shape == second.shape else None
    if method == "LoKr":
        left, right = _kronecker(module, arrays)
        return Delta(_flat(scale * np.kron(left, right)))
    return Delta(_flat(get("diff"))) if method == "full" else None


def _product(left: Array, right: Array) -> Delta | None:
    return Delta(left, right) if left.shape[1] == right.shape[0] else None


def _scale(module: Module, arrays: Mapping[str, Array]) -> float:
    """alpha / rank; 1 where the file has no alpha, or no factors to divide by."""
    size, value = rank(module, arrays), alpha(module, arrays)
    return value / size if size and value is not None else 1.0


def _hadamard_factor(get: Any, number: str) -> Array:
    """One of LoHa's two products; with a Tucker core the kernel is in the core."""
    a, b = get(f"hada_w{number}_a"), get(f"hada_w{number}_b")
    core = get(f"hada_t{number}")
    # [r, r, k, k], [r, in], [r, out] → [out, in, k, k]
    factor: Array = a @ b if core is None else np.einsum("ij...,jr,ip->pr...", core, b, a)
    return factor


def _kronecker(module: Module, arrays: Mapping[str, Array]) -> tuple[Array, Array]:
    """LoKr's two matrices, the first with as many axes as the second."""
    get = _getter(module, arrays)
    left, right, core = get("lokr_w1"), get("lokr_w2"), get("lokr_t2")
    if left is None:
        left = get("lokr_w1_a") @ get("lokr_w1_b")
    if right is None:
        a, b = get("lokr_w2_a"), get("lokr_w2_b")
        if core is not None:
            right = np.einsum("ij...,jr,ip->pr...", core, b, a)
        else:
            right = a @ b.reshape(b.shape[0], -1)
    return left.reshape(left.shape + (1,) * (right.ndim - left.ndim)), right


def _getter(module: Module, arrays: Mapping[str, Array]) -> Any:
    """Tensors by role, in float64; None for a role that the module does not have."""

    def get(role: str) -> Array | None:
        name = module.tensors.get(role)
        return None if name is None else arrays[name].astype(np.float64)

    return get


def _flat(matrix: Array) -> Array:
    return matrix.reshape(matrix.shape[0], -1) if matrix.ndim else matrix.reshape(1, 1)
