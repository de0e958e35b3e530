"""What a training will cost, counted before anything is loaded."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from lora_recipes.errors import Place, Problem, UserError, Wording
from lora_recipes.machine import Device, device_of
from lora_recipes.pipeline import PARAMS
from lora_recipes.plan import prior
from lora_recipes.plan.buckets import Shapes
from lora_recipes.plan.duration import Duration, duration
from lora_recipes.plan.measured import own_runs, table
from lora_recipes.plan.memory import Memory, estimate, gib
from lora_recipes.plan.prior import NONE_GIVEN, Given
from lora_recipes.plan.shapes import adapted_shapes, unet_config, weights_per_rank
from lora_recipes.plan.speed import counted as counted_time
from lora_recipes.plan.texts import Texts, texts
from lora_recipes.plan.work import Shape, prior_batch, shape_of
from lora_recipes.recipe.counts import Counts, count, window
from lora_recipes.recipe.length import problems_for_images
from lora_recipes.recipe.load import Resolved
from lora_recipes.recipe.schedule import learning_rate_at, snapshot_steps
from lora_recipes.recipe.sections.train import Train
from lora_recipes.recipe.size import Size
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

    exact: bool = True
    """Whether the steps are right: not where each bucket may leave a short batch, and which there
    will be is not known."""


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

    shapes: Shapes
    """What becomes of each picture's shape."""

    regularization: tuple[tuple[str, str], ...] = ()
    """What there is to say of regularization pictures, by name."""

    sure: bool = True
    """Whether the pictures are known to be those that will be trained on."""

    texts: Texts | None = None
    """None where the captions were not read."""

    problems: Sequence[Problem] = ()
    """What prepare would stop at once regularization pictures were generated."""

    unseen: Wording = ""
    """What to do about regularization pictures that are never seen; empty without any."""

    def __str__(self) -> str:
        return "\n".join(aligned(self.rows()))

    @property
    def warnings(self) -> list[Wording]:
        """What is worth a thought before the training."""
        told = [self.texts.warning if self.texts else "", self.unseen]
        return [text for text in told if text]

    def rows(self) -> list[tuple[str, str]]:
        """What is known, by name."""
        mib = self.file_bytes / 2**20
        rows = [
            *_length_rows(self.length, self.train, self.sure),
            *self.shapes.rows(),
            *([("texts", str(self.texts))] if self.texts and self.texts.shown else []),
            *self.regularization,
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
    sizes: Mapping[str, Size] | None = None,
    device: Device | None = None,
    given: Given = NONE_GIVEN,
    sure: bool = True,
    number_of_texts: int | None = None,
) -> Plan:
    """Count what a training will take.

    Args:
        resolved: the recipe with params.yaml laid over it.
        repeats: [pictures] how often the folder of each picture that is trained on repeats it,
            mostly 1; None where the data folder is not here.
        root: the project's folder, to look into a local base model's config and at earlier runs.
        sizes: of these pictures, by path, in pixels; none where they are not known.
        device: what it would run on; by default what is found on this machine.
        given: regularization pictures in the data folder.
        sure: whether all pictures were looked at, and none is refused.
        number_of_texts: how many there are to encode, but for those of pictures that are generated
            first; None where that is not known.

    Raises:
        UserError: the recipe does not fit so few images.
    """
    recipe = resolved.recipe
    photos = Shapes(recipe.prepare, sizes or {}, repeats or [])
    where = partial(_editable, resolved.where)
    if repeats is not None and (
        problems := problems_for_images(recipe.train, repeats, where, photos.targets)
    ):
        raise UserError(problems)
    shapes = adapted_shapes(unet_config(recipe.base.model, root), recipe.lora.targets)
    weights = recipe.lora.rank * weights_per_rank(shapes)
    device = device or device_of(recipe.compute.device)
    length = _length(repeats, recipe.train, photos)
    kept = prior.shapes(recipe, given)
    shape = _shape(resolved, photos, kept, device, root)
    known = _duration(shape, length, device, root)
    steps, batches = (length.counts.steps, length.counts.batches) if length else (0, None)
    return Plan(
        train=recipe.train,
        length=length,
        modules=len(shapes),
        rank=recipe.lora.rank,
        file_bytes=4 * (weights + len(shapes)) + HEADER_BYTES_PER_MODULE * len(shapes),
        memory=estimate(
            recipe, weights, max(shape.batch * photos.largest, shape.prior * kept.largest)
        ),
        device=device,
        duration=known,
        shapes=photos,
        regularization=tuple(prior.rows(recipe, given, batches, steps, shape, known)),
        sure=sure,
        texts=None
        if number_of_texts is None
        else texts(recipe, number_of_texts + prior.number_of_texts(recipe), root),
        unseen=prior.too_many(recipe, given, batches),
        problems=prior.size_of_generated(recipe, resolved.where("prior.size")),
    )


def _editable(where: Callable[[str], Place], key: str) -> Place:
    """The place in params.yaml of a key, or of one beside it, for the user to change."""
    places = (where(name) for name in (LENGTH if key in LENGTH else (key,)))
    return next((place for place in places if place.file == PARAMS), Place(PARAMS))


def _shape(resolved: Resolved, photos: Shapes, kept: Shapes, device: Device, root: Path) -> Shape:
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
        prior_batch(recipe.dataset.regularization, recipe.prior.images, recipe.train),
    )
    other = kept.mean if shape.prior and kept.mean != photos.mean else 0
    return replace(shape, pixels=photos.mean, prior_pixels=other)


def _duration(shape: Shape, length: Length | None, device: Device, root: Path) -> Duration | None:
    if length is None:
        return None
    steps = length.counts.steps
    # a run's record tells no sizes of regularization pictures: taken to have been those of now
    own = [
        replace(run, shape=replace(run.shape, prior_pixels=shape.prior_pixels))
        for run in own_runs(root)
    ]
    known = duration(shape, steps, [*own, *table()])
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


def _length(repeats: Sequence[int] | None, train: Train, shapes: Shapes) -> Length | None:
    if repeats is None:
        return None
    counts = count(repeats, train, shapes.targets)
    return Length(
        images=sum(repeats),
        pictures=len(repeats),
        counts=counts,
        snapshots=tuple(snapshot_steps(counts.steps, train)),
        exact=shapes.known or train.steps != "auto" or train.batch_size == 1,
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
            f"{'' if length.exact else 'about '}{length.counts.steps} optimizer steps of "
            f"{window(train)} samples"
            + ("" if sure else ", if the pictures are all right and stay as many"),
        ),
    ]
    if length.snapshots:
        kept = ", ".join(map(str, length.snapshots))
        rows.append(("snapshots", f"after steps {kept}"))
    return rows
