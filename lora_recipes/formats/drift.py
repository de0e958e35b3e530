"""How far two adapters lie apart: in their numbers, and in what they add to the base. No torch.

A module adds ΔW, for LoRA alpha / rank · up · down, to a weight. Two adapters with other factors
can add the same, so the drift of ΔW is what a picture sees. DoRA's magnitudes count as numbers
only: what they do depends on the base.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from lora_recipes.formats.arrays import Array, read_arrays
from lora_recipes.formats.delta import delta, distance
from lora_recipes.formats.layout import layout
from lora_recipes.text import aligned, first_few

SHOWN = 5
"""Modules in the table: the worst."""


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
        found: dict[str, Any] = plain(asdict(self))
        return found

    def table(self) -> str:
        """A few lines for people, the summary first."""
        if self.is_none:
            return "the tensors are equal, number by number"
        partly = self.only_before or self.only_after or self.reshaped
        both = " that both have in the same shape" if partly else ""
        lines = [
            f"{self.differs:,} of {self.of:,} numbers{both} differ, by {self.max_abs:.3g} at most; "
            f"relative L2 {self.relative_l2:.3g}",
            f"what they add to the base (ΔW): relative L2 {self.delta_relative_l2:.3g}",
        ]
        worst = self.modules[:SHOWN]
        lines += aligned([(f"{m.relative_l2:.3g}", m.module) for m in worst], indent="  ")
        if any(np.isinf(m.relative_l2) for m in worst):
            lines.append("  (inf: the first adds nothing there, or a number is infinite)")
        if len(self.modules) > SHOWN:
            lines.append(f"  … and {len(self.modules) - SHOWN} more modules")
        for title, names in (
            ("only in the first", self.only_before),
            ("only in the second", self.only_after),
            ("of another shape", self.reshaped),
        ):
            if names:
                lines.append(f"{title}: {first_few(names, 1)}")
        return "\n".join(lines)


def drift(before: Path, after: Path) -> Drift:
    """Compare two adapter files.

    Raises:
        UserError: a file is missing, cut off, or no safetensors file.
    """
    return drift_of(read_arrays(before)[1], read_arrays(after)[1])


def drift_of(before: Mapping[str, Array], after: Mapping[str, Array]) -> Drift:
    """Compare two adapters' tensors by name."""
    shared = [name for name in sorted(before) if name in after]
    same = [name for name in shared if before[name].shape == after[name].shape]
    pairs = {name: (_wide(before[name]), _wide(after[name])) for name in same}
    with np.errstate(invalid="ignore", over="ignore"):
        tensors = [_tensor(name, *pair) for name, pair in pairs.items()]
        apart = np.sqrt(sum(_square(new - old) for old, new in pairs.values()))
        size = np.sqrt(sum(_square(old) for old, _ in pairs.values()))
        modules, delta = _modules(before, after)
    return Drift(
        tensors=tuple(tensor for tensor in tensors if tensor.differs),
        modules=modules,
        differs=sum(tensor.differs for tensor in tensors),
        of=sum(tensor.of for tensor in tensors),
        max_abs=_largest([tensor.max_abs for tensor in tensors]),
        relative_l2=_ratio(apart, size),
        delta_relative_l2=delta,
        only_before=tuple(sorted(set(before) - set(after))),
        only_after=tuple(sorted(set(after) - set(before))),
        reshaped=tuple(
            f"{name}: {list(before[name].shape)} → {list(after[name].shape)}"
            for name in shared
            if name not in pairs
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


def _modules(
    before: Mapping[str, Array], after: Mapping[str, Array]
) -> tuple[tuple[ModuleDrift, ...], float]:
    """The modules whose ΔW differs, worst first, and the drift of all together."""
    olds, news = ({m.name: m for m in layout(tensors).modules} for tensors in (before, after))
    found, apart, size = [], 0.0, 0.0
    for name in sorted({*olds, *news}):
        old = delta(olds[name], before) if name in olds else None
        new = delta(news[name], after) if name in news else None
        difference, base = distance(old, new), distance(None, old)
        apart += difference**2
        size += base**2
        if difference != 0:
            found.append(ModuleDrift(name, _ratio(difference, base)))
    # NaN sorts nowhere: it is the worst of all
    found.sort(key=lambda m: (-np.inf if np.isnan(m.relative_l2) else -m.relative_l2, m.module))
    return tuple(found), _ratio(np.sqrt(apart), np.sqrt(size))


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


def plain(value: Any) -> Any:
    """A value as JSON has it: tuples as lists, numbers that are not finite by their names."""
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, float) and not np.isfinite(value):
        return str(value)
    return value
