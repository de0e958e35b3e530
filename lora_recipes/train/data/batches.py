"""Batches of encoded pictures, from any place of the stream on.

B: samples, C: latent channels, H, W: latent rows and columns, D: width of the text embeddings,
P: width of the pooled embedding.
"""

from __future__ import annotations

import signal
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from lora_recipes.encode.store import Example, file_size, load_moments, load_text
from lora_recipes.errors import UserError
from lora_recipes.stopping import WISHES
from lora_recipes.train.data.choice import Choice
from lora_recipes.train.data.rank_schedule import RankSchedule
from lora_recipes.train.data.stream import Stream, TrainingSample
from lora_recipes.train.data.transfer import send

KEPT_IN_MEMORY = 2**30
"""Bytes. Encoded pictures that need more in all are read again for each sample."""


@dataclass(frozen=True)
class Batch:
    """What one forward pass needs, and which part of the training it is."""

    number: int
    """Which batch of the stream; one past its end fills up the last round of several processes,
    and counts for nothing."""
    positions: tuple[tuple[int, int], ...]
    """[B] (epoch, index) of each sample: all that its draws depend on."""
    weight: float
    """How much the batch counts in its optimizer step; 1 in every full window."""
    mean_BCHW: Tensor
    """The VAE posterior's mean, float32."""
    std_BCHW: Tensor
    """Its standard deviation, float32."""
    tokens_BLD: Tensor
    """Embeddings of the caption's L tokens, float32."""
    pooled_BP: Tensor
    """The pooled caption, float32."""
    time_ids_B6: Tensor
    """Original height and width, crop top and left, target height and width: pixels, float32."""

    @property
    def conditioning(self) -> dict[str, Tensor]:
        """SDXL's second conditioning, by the names that its UNet asks for."""
        return {"text_embeds": self.pooled_BP, "time_ids": self.time_ids_B6}

    def to(self, device: torch.device | str, **_: Any) -> Batch:
        """The same batch on another device."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        moved = {
            name: send(value, device) for name, value in values.items() if isinstance(value, Tensor)
        }
        return replace(self, **moved)


class Pictures:
    """Encoded pictures by number, kept in memory if all of them are small."""

    def __init__(
        self,
        folder: Path,
        images: Sequence[Example],
        keep: int = KEPT_IN_MEMORY,
        choice: Choice | None = None,
    ) -> None:
        """Begin with nothing in memory.

        Args:
            folder: of all encoded pictures.
            images: those that samples are of.
            keep: bytes; more are not kept in memory.
            choice: what is drawn for each look; None takes each picture's caption as written.
        """
        self.folder = folder
        self.images = list(images)
        self.choice = choice
        files = {name for image in self.images for name in image.files}
        self._keeps = sum(file_size(folder / name) for name in files) <= keep
        self._kept: dict[str, tuple[Tensor, Tensor]] = {}

    def of(self, images: Sequence[Example]) -> Pictures:
        """Other pictures of the same folder, with their captions as written."""
        return Pictures(self.folder, images)

    def __len__(self) -> int:
        return len(self.images)

    def names(self, samples: Sequence[TrainingSample]) -> list[str]:
        """The paths of the images behind some samples, each once, in order."""
        return list(dict.fromkeys(self.images[sample.image].path for sample in samples))

    def batch(
        self, samples: Sequence[TrainingSample], number: int = 0, weight: float = 1.0
    ) -> Batch:
        """The encoded pictures of some samples, stacked."""
        images = [self.images[sample.image] for sample in samples]
        moments = [self._load(load_moments, image.moments) for image in images]
        names = [self._text_of(*look) for look in zip(images, samples, strict=True)]
        texts = [self._load(load_text, name) for name in names]
        return Batch(
            number=number,
            positions=tuple(sample.position for sample in samples),
            weight=weight,
            mean_BCHW=torch.stack([mean for mean, _ in moments]),
            std_BCHW=torch.stack([std for _, std in moments]),
            tokens_BLD=torch.stack([tokens for tokens, _ in texts]),
            pooled_BP=torch.stack([pooled for _, pooled in texts]),
            time_ids_B6=torch.tensor([image.time_ids for image in images], dtype=torch.float32),
        )

    def _text_of(self, image: Example, sample: TrainingSample) -> str:
        return self.choice.text_of(image, sample) if self.choice else image.texts[0]

    def _load(self, load: Any, name: str) -> tuple[Tensor, Tensor]:
        if name in self._kept:
            return self._kept[name]
        first, second = load(self.folder / name)
        if self._keeps:
            self._kept[name] = (first, second)
        return first, second


class StreamBatches(Dataset[Batch | UserError]):
    """The stream's batches by number. Nothing here draws, so workers cannot change a byte."""

    def __init__(self, pictures: Pictures, stream: Stream) -> None:
        self.pictures = pictures
        self.stream = stream

    def __len__(self) -> int:
        return self.stream.batches

    def __getitem__(self, number: int) -> Batch | UserError:
        there = min(number, len(self) - 1)
        try:
            return self.pictures.batch(self.stream.batch(there), number, self.stream.weight(there))
        except UserError as error:  # of what a worker raises, torch would make a text
            return error


def load(
    pictures: Pictures, schedule: RankSchedule, first: int = 0, workers: int = 0
) -> Iterator[Batch]:
    """One process's batches in order.

    Args:
        pictures: what the stream's samples are of.
        schedule: which of the stream's batches are this process's.
        first: the batch of the stream to begin with, the first of a round: 0, or where a
            checkpoint was taken.
        workers: how many processes read ahead; 0 reads here.

    Raises:
        UserError: an encoded file is missing or damaged.
    """
    batches: Iterable[Batch | UserError] = DataLoader(
        StreamBatches(pictures, schedule.stream),
        batch_size=None,
        sampler=schedule.numbers(first),
        num_workers=workers,
        collate_fn=_as_it_is,
        worker_init_fn=_leave_signals,
    )
    for batch in batches:
        if isinstance(batch, UserError):
            raise batch
        yield batch


def _as_it_is(batch: Batch | UserError) -> Batch | UserError:
    return batch


def _leave_signals(_: int) -> None:
    """A terminal and a shutdown ask all processes to stop; the training still needs its readers."""
    for number in WISHES:
        signal.signal(number, signal.SIG_IGN)
