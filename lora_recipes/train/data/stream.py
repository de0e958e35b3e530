"""Which sample comes when: the samples of all epochs as one stream, cut into batches and steps.

Every epoch is its own seeded order of images × repeats. Epochs cut neither batches nor
accumulation windows, so each image is seen exactly as often as the recipe says. How many batches
and steps that makes, `recipe/counts.py` says: `plan` asks the same function.

What the training asks of a stream: `batches`, `batch(n)`, `weight(n)`, `step_of(n)` and `steps`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache

from lora_recipes.diffusion import draws
from lora_recipes.recipe import counts
from lora_recipes.recipe.sections.train import Train


@dataclass(frozen=True)
class TrainingSample:
    """One look at one image: the epoch, the index in the stream, and which image it is."""

    epoch: int
    index: int
    image: int

    @property
    def position(self) -> tuple[int, int]:
        """What the sample's draws depend on."""
        return (self.epoch, self.index)


@dataclass(frozen=True)
class Stream:
    """The samples of a whole training, by batch and by optimizer step. All counts start at 0."""

    repeats: tuple[int, ...]
    """How often each image is seen in an epoch."""
    samples: int
    """How many samples there are in all; the last epoch may be cut."""
    batch_size: int
    accumulation: int
    """Batches of one optimizer step."""
    seed: int
    purpose: str = "order"
    """Of the draws that make the order."""

    @classmethod
    def of(cls, repeats: Sequence[int], train: Train) -> Stream:
        """The stream of a recipe.

        Args:
            repeats: [pictures] how often each picture's own folder repeats it, mostly 1.
            train: the section of the recipe.
        """
        return cls(
            repeats=tuple(own * train.repeats for own in repeats),
            samples=counts.count(repeats, train).samples,
            batch_size=train.batch_size,
            accumulation=train.gradient_accumulation,
            seed=train.seed,
        )

    @cached_property
    def _counts(self) -> counts.Counts:
        return counts.cut(self.repeats, self.samples, self.batch_size, self.accumulation)

    @cached_property
    def epoch_length(self) -> int:
        """Samples of one epoch."""
        return sum(self.repeats)

    @property
    def window(self) -> int:
        """Samples of one full optimizer step."""
        return self.batch_size * self.accumulation

    @property
    def batches(self) -> int:
        """How many batches there are; the last may be smaller."""
        return self._counts.batches

    @property
    def steps(self) -> int:
        """How many optimizer steps there are; the last may hold fewer samples."""
        return self._counts.steps

    def sample(self, index: int) -> TrainingSample:
        """The sample at a place of the stream."""
        epoch, place = divmod(index, self.epoch_length)
        return TrainingSample(epoch, index, self._order(epoch)[place])

    def _order(self, epoch: int) -> list[int]:
        return _order(self.repeats, self.seed, self.purpose, epoch)

    def batch(self, number: int) -> list[TrainingSample]:
        """The samples of a batch."""
        start = number * self.batch_size
        return [self.sample(k) for k in range(start, min(start + self.batch_size, self.samples))]

    def step_of(self, number: int) -> int:
        """The optimizer step that a batch belongs to."""
        return number // self.accumulation

    def ends_step(self, number: int) -> bool:
        """Whether the optimizer steps after this batch."""
        return (number + 1) % self.accumulation == 0 or number + 1 == self.batches

    def step_samples(self, step: int) -> list[TrainingSample]:
        """The samples whose mean gradient makes an optimizer step."""
        start = step * self.window
        return [self.sample(k) for k in range(start, min(start + self.window, self.samples))]

    def epoch_of(self, step: int) -> int:
        """The epoch of a step's last sample."""
        return (min((step + 1) * self.window, self.samples) - 1) // self.epoch_length

    def weight(self, number: int) -> float:
        """How much a batch counts in its step, against an equal part: 1 in every full window.

        In a last window that holds fewer samples, each sample counts for as much more, so that
        the step's gradient is the mean over what the window holds.
        """
        start = self.step_of(number) * self.window
        held = min(self.window, self.samples - start)
        size = min(self.batch_size, self.samples - number * self.batch_size)
        return size * self.accumulation / held


@lru_cache(maxsize=4)  # two epochs, of the subject and of regularization pictures
def _order(repeats: Sequence[int], seed: int, purpose: str, epoch: int) -> list[int]:
    images = [image for image, count in enumerate(repeats) for _ in range(count)]
    return [images[place] for place in draws.permutation(len(images), seed, purpose, epoch)]
