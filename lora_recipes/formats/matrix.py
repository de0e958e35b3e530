"""Matrices that are kept as they are written down, and how far two of them lie apart. No torch.

A file of a megabyte can describe a matrix of 30 GB. So a product stays a product, and a norm comes
from its factors or, where that is cheaper, from blocks of rows: never from the whole.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from lora_recipes.formats.arrays import Array

BLOCK = 2**22
"""Numbers that are formed at a time: 32 MiB."""

SMALL = 2**12
"""Numbers of a matrix that is quicker formed than taken apart."""

MOST_NUMBERS = 2**27
"""Numbers of the largest thing that is formed at all: 1 GiB."""

MOST_WORK = 2**40
"""Multiplications for one norm: a minute. What needs more is not computed."""


class TooLargeError(Exception):
    """A matrix whose norm would take too long, or too much memory."""


@dataclass(frozen=True)
class Delta:
    """A matrix [out, in · kernel], float64: whole, or as the product of two factors."""

    left: Array
    """[out, r] already scaled, or the whole matrix."""

    right: Array | None = None
    """[r, in · kernel]; None where `left` is the whole."""

    @property
    def shape(self) -> tuple[int, int]:
        """Of the whole matrix."""
        wide = self.left if self.right is None else self.right
        return self.left.shape[0], wide.shape[1]

    @property
    def width(self) -> int | None:
        """Columns of the left factor; None where there are no factors."""
        return None if self.right is None else self.left.shape[1]

    @property
    def arrays(self) -> tuple[Array, ...]:
        """All that it is made of."""
        return (self.left,) if self.right is None else (self.left, self.right)

    def take(self, rows: Any) -> Array:
        """Some of its rows."""
        some: Array = self.left[rows]
        return some if self.right is None else some @ self.right

    def factor_rows(self, side: int, rows: slice) -> Array:
        """Rows of the left factor (side 0), or of the right one transposed (side 1)."""
        assert self.right is not None
        return self.left[rows] if side == 0 else self.right.T[rows]

    def whole(self) -> Array:
        """The matrix itself."""
        return self.take(slice(None))


@dataclass(frozen=True)
class Hadamard:
    """Two products, multiplied number by number: LoHa's.

    That is one product too: row i of its left factor is the Kronecker product of the rows i of the
    two left ones, and so on the right.
    """

    first: Delta
    second: Delta

    @property
    def shape(self) -> tuple[int, int]:
        """Of the whole matrix."""
        return self.first.shape

    @property
    def width(self) -> int | None:
        """Columns of the left factor."""
        if self.first.width is None or self.second.width is None:
            return None
        return self.first.width * self.second.width

    @property
    def arrays(self) -> tuple[Array, ...]:
        """All that it is made of."""
        return self.first.arrays + self.second.arrays

    def take(self, rows: Any) -> Array:
        """Some of its rows."""
        return self.first.take(rows) * self.second.take(rows)

    def factor_rows(self, side: int, rows: slice) -> Array:
        """As of `Delta`."""
        return _row_by_row(*(one.factor_rows(side, rows) for one in (self.first, self.second)))

    def whole(self) -> Array:
        """The matrix itself."""
        return self.take(slice(None))


@dataclass(frozen=True)
class Kronecker:
    """first ⊗ second: LoKr's."""

    first: Delta
    second: Delta

    width = None

    @property
    def shape(self) -> tuple[int, int]:
        """Of the whole matrix."""
        (tall, wide), (low, narrow) = self.first.shape, self.second.shape
        return tall * low, wide * narrow

    @property
    def arrays(self) -> tuple[Array, ...]:
        """All that it is made of."""
        return self.first.arrays + self.second.arrays

    def take(self, rows: Any) -> Array:
        """Some of its rows."""
        every = np.arange(self.shape[0])[rows]
        low = self.second.shape[0]
        return _row_by_row(self.first.take(every // low), self.second.take(every % low))

    def whole(self) -> Array:
        """The matrix itself."""
        return self.take(slice(None))


Matrix = Delta | Hadamard | Kronecker


def distance(old: Matrix | None, new: Matrix | None) -> float:
    """‖new - old‖, Frobenius; one that is missing counts as 0, and nan stands for no number.

    Raises:
        TooLargeError: it would take too long, or too much memory.
    """
    if old is None or new is None:
        one = old or new
        return 0.0 if one is None else _norm([one])
    if old.shape != new.shape:
        return float("inf")
    return 0.0 if _same(old, new) else _norm([new, old])


def _same(old: Matrix, new: Matrix) -> bool:
    pairs = zip(old.arrays, new.arrays, strict=False)
    return type(old) is type(new) and all(np.array_equal(one, two) for one, two in pairs)


def _norm(terms: Sequence[Matrix]) -> float:
    """The norm of a matrix, or of the first less the second."""
    if not all(np.isfinite(array).all() for one in terms for array in one.arrays):
        return float("nan")
    krons = [one for one in terms if isinstance(one, Kronecker)]
    if len(krons) == len(terms) and len({one.first.shape for one in krons}) == 1:
        return _norm_of_kroneckers(krons)
    tall, wide = terms[0].shape
    widths = [one.width for one in terms if one.width is not None]
    by_factors = (tall + wide) * sum(widths) ** 2
    by_rows = tall * wide * (1 + sum(widths))
    small = tall * wide <= SMALL >= by_rows
    plain = all(isinstance(one, Delta) for one in terms) and tall * wide > SMALL
    if len(widths) == len(terms) and not small and (plain or by_factors <= by_rows):
        _check(by_factors, sum(widths) ** 2)
        return _norm_by_factors(terms)
    _check(by_rows, max(wide, *(array.size for one in terms for array in one.arrays)))
    return _norm_by_rows(terms)


def _norm_by_factors(terms: Sequence[Matrix]) -> float:
    """A difference of products is one product of factors side by side, [up', -up] · [down'; down].

    QR of each leaves a small product of the same norm, and subtracts before anything is squared.
    """
    signs = (1.0, -1.0)
    left = _triangle(terms, 0, signs)
    right = _triangle(terms, 1, (1.0, 1.0))
    return float(np.linalg.norm(left @ right.T))


def _triangle(terms: Sequence[Any], side: int, signs: Sequence[float]) -> Array:
    """R of the QR of the factors side by side, from blocks of their rows."""
    found: Array | None = None
    width = sum(one.width for one in terms)
    for rows in _blocks(terms[0].shape[side], width):
        parts = [
            sign * one.factor_rows(side, rows) for sign, one in zip(signs, terms, strict=False)
        ]
        block = np.hstack(parts)
        whole = block if found is None else np.vstack([found, block])
        found = np.asarray(np.linalg.qr(whole, mode="r"))
    return np.zeros((0, width)) if found is None else found


def _norm_by_rows(terms: Sequence[Matrix]) -> float:
    total = 0.0
    for rows in _blocks(*terms[0].shape):
        block = terms[0].take(rows)
        for one in terms[1:]:
            block = block - one.take(rows)
        total += float(np.linalg.norm(block)) ** 2
    return float(np.sqrt(total))


def _norm_of_kroneckers(terms: Sequence[Kronecker]) -> float:
    """‖a ⊗ b - c ⊗ d‖ = ‖vec a · vec bᵀ - vec c · vec dᵀ‖, the numbers put into another order."""
    firsts, seconds = ([getattr(one, side) for one in terms] for side in ("first", "second"))
    lefts, rights = (_alike(factors) for factors in (firsts, seconds))
    columns = [
        Delta(left.reshape(-1, 1), right.reshape(1, -1))
        for left, right in zip(lefts, rights, strict=True)
    ]
    return _norm_by_factors(columns)


def _alike(factors: Sequence[Delta]) -> list[Array]:
    """Small matrices with the norms and the scalar products of the given ones."""
    if any(one.right is None for one in factors):
        _check(0, factors[0].shape[0] * factors[0].shape[1])
        return [one.whole() for one in factors]
    widths = [one.left.shape[1] for one in factors]
    _check(sum(factors[0].shape) * sum(widths) ** 2, sum(widths) ** 2)
    left = _triangle(factors, 0, (1.0, 1.0))
    right = _triangle(factors, 1, (1.0, 1.0))
    ends = np.cumsum([0, *widths])
    spans = [slice(ends[n], ends[n + 1]) for n in range(len(factors))]
    return [left[:, span] @ right[:, span].T for span in spans]


def _row_by_row(first: Array, second: Array) -> Array:
    """[n, a] and [n, b] → [n, a · b]: the Kronecker product of each two rows."""
    return (first[:, :, None] * second[:, None, :]).reshape(len(first), -1)


def _blocks(rows: int, width: int) -> Iterator[slice]:
    step = max(1, BLOCK // max(width, 1))
    return (slice(start, start + step) for start in range(0, rows, step))


def _check(work: int, numbers: int) -> None:
    if work > MOST_WORK or numbers > MOST_NUMBERS:
        raise TooLargeError
