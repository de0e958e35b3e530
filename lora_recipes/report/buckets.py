"""The table of buckets: the shapes that were trained on, the pictures of each, what was cut off."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass

from lora_recipes.dataset.roles import TRAIN
from lora_recipes.report.inputs import Inputs, Photo


@dataclass(frozen=True)
class Bucket:
    """The pictures that were trained on at one size."""

    size: tuple[int, int]
    photos: list[Photo]

    @property
    def seen(self) -> int:
        """How many of an epoch's samples are of it, before the recipe's own repeats."""
        return sum(photo.repeats for photo in self.photos)

    @property
    def most_cut(self) -> float:
        """The largest part that one of them lost."""
        return max(photo.cut.share for photo in self.photos)


def buckets(inputs: Inputs) -> list[Bucket]:
    """The fullest first; none where buckets are off."""
    if not inputs.resolved["prepare"].get("buckets"):
        return []
    by_size: dict[tuple[int, int], list[Photo]] = defaultdict(list)
    for photo in inputs.photos:
        if photo.role == TRAIN:
            by_size[photo.size].append(photo)
    found = [Bucket(size, photos) for size, photos in by_size.items()]
    return sorted(found, key=lambda bucket: (-len(bucket.photos), bucket.size))
