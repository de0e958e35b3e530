"""Which images are generated: every prompt with every seed, without and with the adapter."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from lora_recipes.recipe.sections.sample import Sample
from lora_recipes.recipe.size import size_of

BASE, FINAL = "none", "final"
SNAPSHOT_PROMPTS = 4
"""Snapshots get images for the first prompts and the first seed only: enough to compare them."""


@dataclass(frozen=True)
class SampleImage:
    """One image to generate; equal seeds start from equal noise, whatever prompt and adapter."""

    row: int
    """The prompt's place among the prompts, from 0."""

    prompt: str
    seed: int

    adapter: str
    """`none` (the base alone), `final`, or a snapshot's name, `step-000123`."""

    strength: float
    """How strongly the adapter acts: 1 as trained, 0 for the base alone."""

    @property
    def adapted(self) -> bool:
        """Whether an adapter acts on it."""
        return self.adapter != BASE

    @property
    def file(self) -> str:
        """Its file's name, `p00-s0-adapter.png`."""
        kind = {BASE: "base", FINAL: "adapter"}.get(self.adapter, self.adapter)
        return f"p{self.row:02}-s{self.seed}-{kind}.png"


def sample_images(
    sample: Sample, prompts: Sequence[str], snapshots: Iterable[str]
) -> list[SampleImage]:
    """All images, prompt by prompt: the base, the snapshots in order, the adapter."""
    kept = sorted(snapshots)
    seeds = list(dict.fromkeys(sample.seeds))
    planned = []
    for row, prompt in enumerate(prompts):
        for seed in seeds:
            along = kept if row < SNAPSHOT_PROMPTS and seed == seeds[0] else []
            for adapter in (BASE, *along, FINAL):
                strength = 0.0 if adapter == BASE else float(sample.strength)
                planned.append(SampleImage(row, prompt, seed, adapter, strength))
    return planned


def image_size(sample: Sample, resolution: int | Sequence[int]) -> tuple[int, int]:
    """Width and height in pixels: the recipe's own, or with `size: auto` the training's.

    Args:
        resolution: `prepare.resolution` as the adapter's header has it.
    """
    return size_of(resolution if sample.size == "auto" else sample.size)
