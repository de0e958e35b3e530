"""Which bucket each picture gets, and what of it is cropped: the rows of a plan."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from lora_recipes.dataset.buckets import target_of
from lora_recipes.dataset.geometry import cut_off
from lora_recipes.dataset.size_problems import fullest_first, percent, told_cut
from lora_recipes.recipe.sections.prepare import Prepare
from lora_recipes.recipe.size import Size, size_of
from lora_recipes.text import aligned, counted

MOST_BUCKETS = 12
MOST_CROPPED = 3


@dataclass(frozen=True)
class Shapes:
    """What becomes of the shape of each picture that is trained on."""

    prepare: Prepare
    sizes: Mapping[str, Size]
    """Of the originals, by path; empty where they are not known."""
    repeats: Sequence[int]
    """How often each is repeated by its own folder."""

    @cached_property
    def targets(self) -> list[Size]:
        """The size that each is trained at; empty where that is not known."""
        return [target_of(size, self.prepare) for size in self.sizes.values()]

    @property
    def known(self) -> bool:
        """Whether the size that each is trained at is known."""
        return bool(self.sizes) or not self.prepare.buckets

    @property
    def largest(self) -> int:
        """Pixels of the largest size; where none is known, the most that one can have."""
        resolution = size_of(self.prepare.resolution)
        return max(width * height for width, height in self.targets or [resolution])

    @property
    def mean(self) -> int:
        """Pixels of a sample on average; where that is not known, the most that one can have."""
        return mean_pixels(zip(self.targets, self.repeats, strict=False)) or self.largest

    def rows(self) -> list[tuple[str, str]]:
        """The table of buckets, and the pictures that lose most."""
        rows = []
        if self.prepare.buckets and self.sizes:
            rows += _table(Counter(self.targets))
        if lost := self._lost():
            rows.append(("cropped", lost))
        return rows

    def _lost(self) -> str:
        pairs = zip(self.sizes.items(), self.targets, strict=True)
        cuts = {path: cut_off(size, target) for (path, size), target in pairs}
        ranked = sorted(
            (path for path, cut in cuts.items() if cut.share),
            key=lambda path: (-cuts[path].share, path),
        )
        named, others = ranked[:MOST_CROPPED], ranked[MOST_CROPPED:]
        text = ", ".join(f"{path} {told_cut(cuts[path])}" for path in named)
        if others:
            text += f"; {counted(len(others), 'other')} {percent(cuts[others[0]])} at most"
        return text


def mean_pixels(seen: Iterable[tuple[Size, int]]) -> int:
    """Pixels on average, of sizes each with how often it is seen; 0 of none."""
    seen = list(seen)
    pixels = sum(width * height * times for (width, height), times in seen)
    return round(pixels / max(1, sum(times for _, times in seen)))


def _table(pictures: Counter[Size]) -> list[tuple[str, str]]:
    ranked = fullest_first(pictures)
    lines = aligned(
        (f"{width}×{height}", counted(count, "picture"))
        for (width, height), count in ranked[:MOST_BUCKETS]
    )
    if more := ranked[MOST_BUCKETS:]:
        lines.append(
            f"and {counted(len(more), 'more bucket')} with "
            + counted(sum(count for _, count in more), "picture")
        )
    return [("" if place else "buckets", line) for place, line in enumerate(lines)]
