"""Which sample comes when: the samples of all epochs as one stream, cut into batches and steps.

Every epoch is its own seeded order of images × repeats. Epochs cut neither batches nor
accumulation windows, so each image is seen exactly as often as the recipe says. How many batches
and steps that makes, `recipe/counts.py` says: `plan` asks the same function.

A batch holds images of one shape. Where there are several (buckets), each sample waits for others
of its shape, and a batch leaves when it is full; what still waits at the very end leaves in short
batches. With one shape, that is the stream of samples as it comes. Nothing here draws anything but
the order, and nothing is stored: batches are a function of the recipe and the data.

What the training asks of a stream: `batches`, `batch(n)`, `weight(n)`, `step_of(n)` and `steps`.
"""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import accumulate, count, islice

from lora_recipes.diffusion import draws
from lora_recipes.recipe import counts
from lora_recipes.recipe.sections.train import Train
from lora_recipes.recipe.size import Size


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
    shapes: tuple[Size, ...] = ()
    """The size of each image; empty where all have the same."""
    full_batches: bool = False
    """Whether the training ends when so many samples have left in full batches, as one of so many
    steps does. Else whatever waits at the end leaves too."""
    purpose: str = "order"
    """Of the draws that make the order."""

    @classmethod
    def of(cls, repeats: Sequence[int], train: Train, shapes: Sequence[Size] = ()) -> Stream:
        """The stream of a recipe.

        Args:
            repeats: [pictures] how often each picture's own folder repeats it, mostly 1.
            train: the section of the recipe.
            shapes: [pictures] the size that each is trained at; empty where all have the same.
        """
        return cls(
            repeats=tuple(own * train.repeats for own in repeats),
            samples=counts.count(repeats, train, shapes).samples,
            batch_size=train.batch_size,
            accumulation=train.gradient_accumulation,
            seed=train.seed,
            shapes=tuple(shapes),
            full_batches=train.steps != "auto",
        )

    @cached_property
    def _counts(self) -> counts.Counts:
        return counts.cut(
            self.repeats,
            self.samples,
            self.batch_size,
            self.accumulation,
            self.shapes,
            self.full_batches,
        )

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
        """How many batches there are; the last may be smaller, and with several shapes some."""
        return self._counts.batches

    @property
    def steps(self) -> int:
        """How many optimizer steps there are; the last may hold fewer samples."""
        return self._counts.steps

    @property
    def by_shape(self) -> Counter[Size]:
        """Samples of an epoch by the size of their image; empty where all have the same."""
        found: Counter[Size] = Counter()
        for shape, repeats in zip(self.shapes, self.repeats, strict=bool(self.shapes)):
            found[shape] += repeats
        return found

    def sample(self, index: int) -> TrainingSample:
        """The sample at a place of the stream."""
        epoch, place = divmod(index, self.epoch_length)
        return TrainingSample(epoch, index, self._order(epoch)[place])

    def _order(self, epoch: int) -> list[int]:
        return _order(self.repeats, self.seed, self.purpose, epoch)

    def batch(self, number: int) -> list[TrainingSample]:
        """The samples of a batch."""
        return self._samples(self._start(number), self._start(number + 1))

    def step_of(self, number: int) -> int:
        """The optimizer step that a batch belongs to."""
        return number // self.accumulation

    def ends_step(self, number: int) -> bool:
        """Whether the optimizer steps after this batch."""
        return (number + 1) % self.accumulation == 0 or number + 1 == self.batches

    def step_samples(self, step: int) -> list[TrainingSample]:
        """The samples whose mean gradient makes an optimizer step."""
        return self._samples(*self._window(step))

    def epoch_of(self, step: int) -> int:
        """The epoch that the training has reached with a step: that of its latest sample so far."""
        last = self._window(step)[1] - 1
        latest = last if self._queued is None else self._queued.latest[last]
        return latest // self.epoch_length

    def weight(self, number: int) -> float:
        """How much a batch counts in its step, against an equal part: 1 in every full window.

        In a window that holds fewer samples, each sample counts for as much more, so that the
        step's gradient is the mean over what the window holds.
        """
        start, end = self._window(self.step_of(number))
        size = self._start(number + 1) - self._start(number)
        return size * self.accumulation / (end - start)

    def _window(self, step: int) -> tuple[int, int]:
        """Where the samples of a step begin and end, in the order of the batches."""
        first = step * self.accumulation
        return self._start(first), self._start(min(first + self.accumulation, self.batches))

    def _start(self, number: int) -> int:
        """How many samples come before a batch, in the order of the batches."""
        if self._queued is None:
            return min(number * self.batch_size, self.samples)
        return self._queued.starts[number]

    def _samples(self, start: int, end: int) -> list[TrainingSample]:
        """Samples in the order of the batches."""
        if self._queued is None:
            return [self.sample(k) for k in range(start, end)]
        queued = self._queued
        return [
            TrainingSample(index // self.epoch_length, index, image)
            for index, image in zip(
                queued.indices[start:end], queued.images[start:end], strict=True
            )
        ]

    @cached_property
    def _queued(self) -> _Queued | None:
        """The samples as they leave their queues; None where all images have one shape."""
        if len({*self.shapes}) <= 1:
            return None
        incoming = islice(self._incoming(), None if self.full_batches else self.samples)
        leaving = _leaving(incoming, self.shapes, self.batch_size)
        return _Queued.of(islice(leaving, self.batches))

    def _incoming(self) -> Iterator[TrainingSample]:
        """The samples of one epoch after the other, without an end."""
        for epoch in count():
            for index, image in enumerate(self._order(epoch), epoch * self.epoch_length):
                yield TrainingSample(epoch, index, image)


@dataclass(frozen=True)
class _Queued:
    """Batches of several shapes, as arrays of numbers: there can be a million samples."""

    indices: array[int]
    """[samples] the place of each in the stream, in the order of the batches."""
    images: array[int]
    """[samples]"""
    latest: array[int]
    """[samples] the greatest index so far."""
    starts: array[int]
    """[batches + 1] how many samples come before each batch, and how many there are."""

    @classmethod
    def of(cls, batches: Iterable[Sequence[TrainingSample]]) -> _Queued:
        indices, images, starts = array("q"), array("q"), array("q", [0])
        for batch in batches:
            indices.extend(sample.index for sample in batch)
            images.extend(sample.image for sample in batch)
            starts.append(len(indices))
        return cls(indices, images, array("q", accumulate(indices, max)), starts)


def _leaving(
    incoming: Iterable[TrainingSample], shapes: Sequence[Size], size: int
) -> Iterator[list[TrainingSample]]:
    """Batches of one shape, each when it is full; at the end what is left, the narrowest first."""
    waiting: dict[Size, list[TrainingSample]] = {shape: [] for shape in sorted({*shapes})}
    for sample in incoming:
        shape = shapes[sample.image]
        waiting[shape].append(sample)
        if len(waiting[shape]) == size:
            yield waiting[shape]
            waiting[shape] = []
    yield from filter(None, waiting.values())


@lru_cache(maxsize=4)  # two epochs, of the subject and of regularization pictures
def _order(repeats: Sequence[int], seed: int, purpose: str, epoch: int) -> list[int]:
    images = [image for image, count in enumerate(repeats) for _ in range(count)]
    return [images[place] for place in draws.permutation(len(images), seed, purpose, epoch)]
