"""How far two adapters lie apart: in their numbers, and in what they add to the base. No torch.

A module adds ΔW, for LoRA alpha / rank · up · down, to a weight. Two adapters with other factors
can add the same, and two with the same factors different things, where alpha stands in a header or
in peft's configuration beside the file; so the drift of ΔW is what a picture sees. DoRA's
magnitudes count as numbers only: what they do depends on the base.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from lora_recipes.formats.arrays import Array, read_arrays
from lora_recipes.formats.delta import delta, scale
from lora_recipes.formats.layout import Module, layout
from lora_recipes.formats.matrix import Matrix, TooLargeError, distance
from lora_recipes.formats.scale import NONE, Scales, read_scales
from lora_recipes.printable import finite, line
from lora_recipes.text import aligned, counted, first_few

SHOWN = 5
"""Modules in the table: the worst."""

_NOT_IN_DELTA = ("m", "diff_b", "b_norm")
"""Roles of tensors that change something else than a weight, or that act on the base."""


@dataclass(frozen=True)
class TensorDrift:
    """One tensor that is not the same in both files."""

    name: str
    differs: int
    """Values that differ. NaN equals nothing, not even NaN."""
    of: int
    max_abs: float
    """The largest difference; inf or nan where a number is not finite."""
    relative_l2: float
    """‖after - before‖ / ‖before‖; inf where before is 0."""


@dataclass(frozen=True)
class ModuleDrift:
    """How far apart lies what the two adapters add to one weight."""

    module: str
    relative_l2: float
    """‖ΔW' - ΔW‖ / ‖ΔW‖; inf where ΔW is 0."""


@dataclass(frozen=True)
class Drift:
    """The difference of two adapters. All of it is 0 and empty for equal tensors."""

    tensors: tuple[TensorDrift, ...]
    """Those that differ, by name."""
    modules: tuple[ModuleDrift, ...]
    """Those whose ΔW differs, worst first."""
    differs: int
    of: int
    max_abs: float
    relative_l2: float
    """Over all numbers of the tensors that both have in the same shape."""
    delta_relative_l2: float
    """Over the ΔW of all modules; a module that only one file has counts as 0 in the other."""
    scales: tuple[tuple[float, float, int], ...]
    """Scale before, scale after, and in how many modules, where alpha / rank is another."""
    untold: tuple[str, ...]
    """Modules with tensors that differ and of which ΔW tells nothing, or not all: of a method that
    depends on the base or is not known, or too large; DoRA's, where magnitudes differ; biases."""
    only_before: tuple[str, ...]
    only_after: tuple[str, ...]
    reshaped: tuple[str, ...]
    """`name: [8, 64] → [4, 64]` of tensors that have another shape."""

    @property
    def is_none(self) -> bool:
        """Whether the two hold the same tensors with the same numbers."""
        return not (self.tensors or self.only_before or self.only_after or self.reshaped)

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON; a number that is not finite becomes its name, "inf" or "nan"."""
        found: dict[str, Any] = finite(asdict(self))
        return found

    def table(self) -> str:
        """A few lines for people, the summary first."""
        if self.is_none and not self.modules:
            return "the tensors are equal, number by number"
        partly = self.only_before or self.only_after or self.reshaped
        both = " that both have in the same shape" if partly else ""
        but = f", without {counted(len(self.untold), 'module')}" if self.untold else ""
        numbers = (
            f"{self.differs:,} of {self.of:,} numbers{both} differ, by {self.max_abs:.3g} at most; "
            f"relative L2 {self.relative_l2:.3g}"
        )
        lines = [
            "the tensors are equal, number by number, but not their scales"
            if self.is_none
            else numbers,
            f"what they add to the base (ΔW{but}): relative L2 {self.delta_relative_l2:.3g}",
        ]
        worst = self.modules[:SHOWN]
        lines += aligned([(f"{m.relative_l2:.3g}", line(m.module)) for m in worst], indent="  ")
        if any(np.isinf(m.relative_l2) for m in worst):
            lines.append("  (inf: the first adds nothing there, or a number is infinite)")
        if len(self.modules) > SHOWN:
            lines.append(f"  … and {len(self.modules) - SHOWN} more modules")
        for old, new, count in self.scales[:SHOWN]:
            lines.append(
                f"scale (alpha / rank): {old:.4g} → {new:.4g} in {counted(count, 'module')}"
            )
        for title, names in (
            ("differ too, by what ΔW does not tell", self.untold),
            ("only in the first", self.only_before),
            ("only in the second", self.only_after),
            ("of another shape", self.reshaped),
        ):
            if names:
                lines.append(f"{title}: {first_few([line(name) for name in names], 1)}")
        return "\n".join(lines)


def drift(before: Path, after: Path) -> Drift:
    """Compare two adapter files.

    Raises:
        UserError: a file is missing, cut off, or no safetensors file.
    """
    (header, old), (other, new) = read_arrays(before), read_arrays(after)
    scales = read_scales(before, header.metadata), read_scales(after, other.metadata)
    return drift_of(old, new, scales)


def drift_of(
    before: Mapping[str, Array],
    after: Mapping[str, Array],
    scales: tuple[Scales, Scales] = (NONE, NONE),
) -> Drift:
    """Compare two adapters' tensors by name, and what they add at the scales that are stated."""
    shared = [name for name in sorted(before) if name in after]
    same = [name for name in shared if before[name].shape == after[name].shape]
    tensors, apart, size = [], 0.0, 0.0
    with np.errstate(invalid="ignore", over="ignore"):
        for name in same:
            old, new = _wide(before[name]), _wide(after[name])
            tensors.append(_tensor(name, old, new))
            apart += _square(new - old)
            size += _square(old)
        added = _modules(before, after, scales)
    return Drift(
        tensors=tuple(tensor for tensor in tensors if tensor.differs),
        modules=added.modules,
        differs=sum(tensor.differs for tensor in tensors),
        of=sum(tensor.of for tensor in tensors),
        max_abs=_largest([tensor.max_abs for tensor in tensors]),
        relative_l2=_ratio(np.sqrt(apart), np.sqrt(size)),
        delta_relative_l2=added.relative_l2,
        scales=added.scales,
        untold=added.untold,
        only_before=tuple(sorted(set(before) - set(after))),
        only_after=tuple(sorted(set(after) - set(before))),
        reshaped=tuple(
            f"{name}: {list(before[name].shape)} → {list(after[name].shape)}"
            for name in shared
            if before[name].shape != after[name].shape
        ),
    )


def _tensor(name: str, old: Array, new: Array) -> TensorDrift:
    apart = np.abs(new - old).ravel()
    return TensorDrift(
        name=name,
        differs=int(np.count_nonzero(old != new)),
        of=old.size,
        max_abs=_largest(apart),
        relative_l2=_ratio(np.sqrt(_square(new - old)), np.sqrt(_square(old))),
    )


@dataclass(frozen=True)
class _Added:
    """How far apart lies what two files add to the base; as the fields of `Drift`."""

    modules: tuple[ModuleDrift, ...]
    relative_l2: float
    scales: tuple[tuple[float, float, int], ...]
    untold: tuple[str, ...]


def _modules(
    before: Mapping[str, Array], after: Mapping[str, Array], scales: tuple[Scales, Scales]
) -> _Added:
    """The modules whose ΔW differs, worst first, and the drift of all together."""
    olds, news = ({m.name: m for m in layout(tensors).modules} for tensors in (before, after))
    found, untold, apart, size = [], [], 0.0, 0.0
    factors: Counter[tuple[float, float]] = Counter()
    for name in sorted({*olds, *news}):
        one, two = olds.get(name), news.get(name)
        try:
            old, new = (
                None if module is None else delta(module, arrays, stated)
                for module, arrays, stated in zip((one, two), (before, after), scales, strict=True)
            )
            difference, base = distance(old, new), distance(None, old)
        except (TooLargeError, MemoryError):
            old = new = None
            difference = base = 0.0
        if _is_untold(((one, old, before), (two, new, after))):
            untold.append(name)
        apart += difference**2
        size += base**2
        if difference != 0:
            found.append(ModuleDrift(name, _ratio(difference, base)))
        if one is not None and two is not None and old is not None and new is not None:
            factors[(scale(one, before, scales[0]), scale(two, after, scales[1]))] += 1
    # NaN sorts nowhere: it is the worst of all
    found.sort(key=lambda m: (-np.inf if np.isnan(m.relative_l2) else -m.relative_l2, m.module))
    return _Added(
        tuple(found),
        _ratio(np.sqrt(apart), np.sqrt(size)),
        tuple((*pair, count) for pair, count in factors.most_common() if pair[0] != pair[1]),
        tuple(untold),
    )


def _is_untold(
    sides: tuple[tuple[Module | None, Matrix | None, Mapping[str, Array]], ...],
) -> bool:
    """Whether something of a module differs that no ΔW tells: tensors beside it, or all of them."""
    formless = any(module is not None and added is None for module, added, _ in sides)
    names = [
        []
        if module is None
        else [
            *(n for role, n in module.tensors.items() if formless or role in _NOT_IN_DELTA),
            *module.unknown,
        ]
        for module, _, _ in sides
    ]
    (one, two), (before, after) = names, (arrays for _, _, arrays in sides)
    return one != two or not all(np.array_equal(before[name], after[name]) for name in one)


def _wide(values: Array) -> Array:
    return values.astype(np.float64)


def _square(values: Array) -> float:
    return float(np.sum(np.square(values)))


def _largest(values: Any) -> float:
    """The largest number; NaN if there is one, 0 if there is none at all."""
    return float(np.max(values)) if len(values) else 0.0


def _ratio(part: Any, whole: Any) -> float:
    if part == 0:
        return 0.0
    return float(part) / float(whole) if whole != 0 else float("inf")
