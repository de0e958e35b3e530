"""Regularization pictures beside the others: batches of their own in the same optimizer steps.

A step's N batches of the subject are followed by as many of regularization pictures. So a batch
holds one kind and, with it, one shape; memory stays that of one batch; the steps, and how often
each picture of the subject is seen, stay what they are without. Regularization pictures come in an
order of their own and are gone round for as long as it takes.

It wraps two streams of any kind, gives the answers that training asks of one, and knows of shapes
and queues only what these two say.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

from lora_recipes.recipe.counts import prior_batch_size
from lora_recipes.recipe.sections.train import Train
from lora_recipes.recipe.size import Size
from lora_recipes.train.data.stream import Stream, TrainingSample

FIRST_EPOCH = -2
"""Epochs of regularization samples count down from here: no sample of the subject, whose epochs
begin at 0, nor one of those that are measured on, at -1, shares a draw with them."""


@dataclass(frozen=True)
class PriorStream:
    """A stream of the subject's batches, each step of which has regularization batches too."""

    own: Stream
    """The subject's."""

    prior: Stream
    """The regularization pictures', with as many batches, all of them full."""

    first_image: int
    """The number of the first regularization picture: they follow the subject's."""

    loss_weight: float
    """How much a step's regularization loss counts beside the subject's; above 0."""

    @classmethod
    def of(
        cls, own: Stream, repeats: Sequence[int], shapes: Sequence[Size], train: Train
    ) -> PriorStream:
        """A recipe's stream with its regularization pictures.

        Args:
            own: the subject's stream.
            repeats: [pictures] how often each regularization picture's folder repeats it.
            shapes: [pictures] the size that each is trained at.
            train: the section of the recipe.
        """
        size = prior_batch_size(train)
        prior = Stream(
            repeats=tuple(repeats),
            samples=own.batches * size,
            batch_size=size,
            accumulation=own.accumulation,
            seed=train.seed,
            shapes=tuple(shapes),
            full_batches=True,  # it is gone round: no sample has to wait for an end
            purpose="prior_order",
        )
        return cls(own, prior, len(own.repeats), train.prior_loss_weight)

    @property
    def repeats(self) -> tuple[int, ...]:
        """How often each of the subject's pictures is seen in an epoch."""
        return self.own.repeats

    @property
    def by_shape(self) -> Counter[Size]:
        """The subject's samples of an epoch by size; empty where all have the same."""
        return self.own.by_shape

    @property
    def samples(self) -> int:
        """The subject's samples."""
        return self.own.samples

    @property
    def batch_size(self) -> int:
        """Of the subject's batches."""
        return self.own.batch_size

    @property
    def window(self) -> int:
        """The subject's samples of one full optimizer step."""
        return self.own.window

    @property
    def accumulation(self) -> int:
        """Batches of a full optimizer step, of both kinds."""
        return 2 * self.own.accumulation

    @property
    def batches(self) -> int:
        """How many batches there are, of both kinds."""
        return 2 * self.own.batches

    @property
    def steps(self) -> int:
        """How many optimizer steps there are: as many as without."""
        return self.own.steps

    def own_batches(self, step: int) -> int:
        """How many of a step's batches are the subject's; they come first, then as many others."""
        return min(self.own.accumulation, self.own.batches - step * self.own.accumulation)

    def batch(self, number: int) -> list[TrainingSample]:
        """The samples of a batch, of one kind."""
        is_own, inner = self._within(number)
        return self.own.batch(inner) if is_own else [*map(self._apart, self.prior.batch(inner))]

    def weight(self, number: int) -> float:
        """How much a batch counts in its step, against an equal part.

        A step's loss is the mean over the subject's samples plus `loss_weight` times that over the
        others: as all are divided by the step's batches, each counts twice.
        """
        is_own, inner = self._within(number)
        if is_own:
            return 2 * self.own.weight(inner)
        return 2 * self.loss_weight * self._prior_weight(inner)

    def step_of(self, number: int) -> int:
        """The optimizer step that a batch belongs to."""
        return number // self.accumulation

    def ends_step(self, number: int) -> bool:
        """Whether the optimizer steps after this batch."""
        return (number + 1) % self.accumulation == 0 or number + 1 == self.batches

    def step_samples(self, step: int) -> list[TrainingSample]:
        """The samples, of both kinds, whose gradients make an optimizer step."""
        return self.own.step_samples(step) + [
            self._apart(sample)
            for number in self._prior_of(step)
            for sample in self.prior.batch(number)
        ]

    def epoch_of(self, step: int) -> int:
        """The epoch of a step's last sample of the subject."""
        return self.own.epoch_of(step)

    def _within(self, number: int) -> tuple[bool, int]:
        """Whether a batch is the subject's, and which one of its own stream it is."""
        step, place = divmod(number, self.accumulation)
        count, start = self.own_batches(step), step * self.own.accumulation
        return place < count, start + place % count

    def _prior_of(self, step: int) -> range:
        start = step * self.own.accumulation
        return range(start, start + self.own_batches(step))

    def _prior_weight(self, number: int) -> float:
        """As a stream's `weight`: in a short last step, each sample counts for as much more."""
        sizes = {it: len(self.prior.batch(it)) for it in self._prior_of(self.own.step_of(number))}
        return sizes[number] * self.own.accumulation / sum(sizes.values())

    def _apart(self, sample: TrainingSample) -> TrainingSample:
        """A regularization sample with a position and a picture's number of its own."""
        image = self.first_image + sample.image
        return replace(sample, epoch=FIRST_EPOCH - sample.epoch, image=image)


AnyStream = Stream | PriorStream
"""What a training goes through."""
