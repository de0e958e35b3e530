"""What a training will cost, counted before anything is loaded."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from lora_recipes.errors import Place, UserError
from lora_recipes.machine import Device, device_of
from lora_recipes.pipeline import PARAMS
from lora_recipes.plan.duration import Duration, duration
from lora_recipes.plan.measured import own_runs, table
from lora_recipes.plan.memory import Memory, estimate, gib
from lora_recipes.plan.shapes import adapted_shapes, unet_config, weights_per_rank
from lora_recipes.plan.speed import counted as counted_time
from lora_recipes.plan.texts import Texts, texts
from lora_recipes.plan.work import shape_of
from lora_recipes.recipe.counts import Counts, count, window
from lora_recipes.recipe.length import problems_for_images
from lora_recipes.recipe.load import Resolved
from lora_recipes.recipe.schedule import learning_rate_at, snapshot_steps
from lora_recipes.recipe.sections.train import Train
from lora_recipes.text import aligned, counted

BLOCKS = "▁▂▃▄▅▆▇█"
COLUMNS = 48
LENGTH = (
    "train.repeats",
    "train.epochs",
    "train.gradient_accumulation",
    "train.batch_size",
)
"""The keys by which a training can be too short for one step."""

HEADER_BYTES_PER_MODULE = 420
"""Names, shapes and offsets of its three tensors in the file's header."""


@dataclass(frozen=True)
class Length:
    """How long a training is."""

    images: int
    """Each counted as often as its own `repeats` say."""

    pictures: int
    """Each counted once."""

    counts: Counts
    snapshots: tuple[int, ...]
    """The steps after which the adapter is kept too."""


@dataclass(frozen=True)
class Plan:
    """What a training will cost. `str()` of it is what the CLI prints."""

    train: Train
    length: Length | None
    """None where the images could not be counted and `train.epochs` gives the length."""

    modules: int
    """Weights of the UNet that get an adapter."""

    rank: int
    file_bytes: int
    memory: Memory
    device: Device
    """What the training would run on, here."""

    duration: Duration | None
    """None where the length or the device's speed is not known."""

    sure: bool = True
    """Whether the pictures are known to be those that will be trained on."""

    texts: Texts | None = None
    """None where the captions were not read."""

    def __str__(self) -> str:
        return "\n".join(aligned(self.rows()))

    def rows(self) -> list[tuple[str, str]]:
        """What is known, by name."""
        mib = self.file_bytes / 2**20
        rows = [
            *_length_rows(self.length, self.train, self.sure),
            *([("texts", str(self.texts))] if self.texts and self.texts.shown else []),
            ("adapter", f"rank {self.rank} beside {self.modules} weights: {mib:.1f} MiB"),
            ("memory", f"{self.memory}{self._memory_here()}"),
        ]
        if self.length is not None:
            unknown = "not known: no run of this model yet, and no figures for it"
            rows.append(("time", str(self.duration or unknown)))
            rows.append(("learning rate", curve(self.length.counts.steps, self.train)))
        return rows

    def _memory_here(self) -> str:
        text = ""
        if self.duration is not None and self.duration.peak_bytes is not None:
            text += f"; measured at most: {gib(self.duration.peak_bytes)}"
        if self.device.memory is not None:
            fits = self.memory.total <= self.device.memory
            text += f"; {self.device.name} has {'' if fits else 'only '}{gib(self.device.memory)}"
        return text


def make_plan(
    resolved: Resolved,
    repeats: Sequence[int] | None,
    root: Path = Path(),
    *,
    device: Device | None = None,
    sure: bool = True,
    number_of_texts: int | None = None,
) -> Plan:
    """Count what a training will take.

    Args:
        resolved: the recipe with params.yaml laid over it.
        repeats: [pictures] how often the folder of each picture that is trained on repeats it,
            mostly 1; None where the data folder is not here.
        root: the project's folder, to look into a local base model's config and at earlier runs.
        device: what it would run on; by default what is found on this machine.
        sure: whether all pictures were looked at, and none is refused.
        number_of_texts: how many there are to encode; None where that is not known.

    Raises:
        UserError: the recipe does not fit so few images.
    """
    recipe = resolved.recipe
    if repeats is not None and (
        problems := problems_for_images(recipe.train, repeats, partial(_editable, resolved.where))
    ):
        raise UserError(problems)
    shapes = adapted_shapes(unet_config(recipe.base.model, root), recipe.lora.targets)
    weights = recipe.lora.rank * weights_per_rank(shapes)
    device = device or device_of(recipe.compute.device)
    length = _length(repeats, recipe.train)
    return Plan(
        train=recipe.train,
        length=length,
        modules=len(shapes),
        rank=recipe.lora.rank,
        file_bytes=4 * (weights + len(shapes)) + HEADER_BYTES_PER_MODULE * len(shapes),
        memory=estimate(recipe, weights),
        device=device,
        duration=_duration(resolved, length, device, root),
        sure=sure,
        texts=None if number_of_texts is None else texts(recipe, number_of_texts, root),
    )


def _editable(where: Callable[[str], Place], key: str) -> Place:
    """The place in params.yaml of a key, or of one beside it, for the user to change."""
    places = (where(name) for name in (LENGTH if key in LENGTH else (key,)))
    return next((place for place in places if place.file == PARAMS), Place(PARAMS))


def _duration(
    resolved: Resolved, length: Length | None, device: Device, root: Path
) -> Duration | None:
    if length is None:
        return None
    recipe, runtime = resolved.recipe, resolved.params.runtime
    shape = shape_of(
        recipe.base,
        recipe.prepare,
        recipe.lora,
        recipe.train,
        recipe.compute,
        device.name,
        root,
        runtime.processes * runtime.nodes,
    )
    steps = length.counts.steps
    known = duration(shape, steps, [*own_runs(root), *table()])
    return known or counted_time(shape, steps, device)


def curve(steps: int, train: Train) -> str:
    """The learning rate over the training as a line of blocks, with its peak and its end.

    >>> curve(4, Train(scheduler="linear"))
    '█▆▅▃ peak 0.0001, last 2.5e-05'
    """
    rates = [learning_rate_at(step, steps, train) for step in range(steps)]
    columns = min(COLUMNS, steps)
    drawn = [rates[column * steps // columns] for column in range(columns)]
    peak = max(rates)
    blocks = "".join(BLOCKS[round(rate / peak * (len(BLOCKS) - 1))] for rate in drawn)
    return f"{blocks} peak {peak:g}, last {rates[-1]:g}"


def _length(repeats: Sequence[int] | None, train: Train) -> Length | None:
    if repeats is None:
        return None
    counts = count(repeats, train)
    return Length(
        images=sum(repeats),
        pictures=len(repeats),
        counts=counts,
        snapshots=tuple(snapshot_steps(counts.steps, train)),
    )


def _length_rows(length: Length | None, train: Train, sure: bool) -> list[tuple[str, str]]:
    if length is None:
        known = f"{train.steps} steps" if train.steps != "auto" else "not known"
        return [("length", f"{known}; the data folder is not here, so no images were counted")]
    repeated = length.images != length.pictures
    folders = f" ({length.images} with their folders' repeats)" if repeated else ""
    rows = [
        (
            "samples",
            f"{counted(length.pictures, 'image')}{folders} × {counted(train.repeats, 'repeat')} × "
            f"{counted(length.counts.epochs, 'epoch')} = {length.counts.samples}",
        ),
        (
            "steps",
            f"{length.counts.steps} optimizer steps of {window(train)} samples"
            + ("" if sure else ", if the pictures are all right and stay as many"),
        ),
    ]
    if length.snapshots:
        kept = ", ".join(map(str, length.snapshots))
        rows.append(("snapshots", f"after steps {kept}"))
    return rows
