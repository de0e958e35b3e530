"""All that the page shows, read from the stages' files in one place."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lora_recipes.dataset.manifest import ManifestFile
from lora_recipes.dataset.roles import NEVER_TRAINED
from lora_recipes.encode.pictures import read_prepared
from lora_recipes.errors import UserError
from lora_recipes.files import read_bytes
from lora_recipes.hashing import sha256_file
from lora_recipes.pipeline import (
    ADAPTER,
    ENVIRONMENT,
    IMAGES,
    LOSSES,
    MANIFEST,
    RECORD,
    SAMPLES,
    SNAPSHOTS,
)
from lora_recipes.recipe.resolved import read_resolved, read_value
from lora_recipes.records import Record, read_record
from lora_recipes.sample.index import read_index
from lora_recipes.tensors import read_header

AGAIN = "run `dvc repro`, which makes it"

OTHER_ROLES = "does not hold the losses that out/train.json speaks of"

USED = (
    *("name", "base.model", "lora.rank", "train.optimizer", "train.scheduler"),
    *("sample.strength", "overridden"),
)
"""Keys of resolved.yaml without which there is no page."""


@dataclass(frozen=True)
class _Environment:
    """What the page takes from `out/environment.json`."""

    environment: dict[str, Any]


@dataclass(frozen=True)
class Step:
    """One optimizer step, a line of `out/loss.tsv`."""

    step: int
    loss: float
    learning_rate: float

    prior_loss: float | None = None
    """On regularization pictures; None where there are none."""


@dataclass(frozen=True)
class Drawn:
    """One picture of `out/samples/`."""

    path: Path
    row: int
    prompt: str
    seed: int

    adapter: str
    """`none`, `final` or `step-000123`."""


@dataclass(frozen=True)
class Photo:
    """One prepared image of the dataset."""

    path: Path
    """The picture as the model sees it, in `build/images/`."""

    name: str
    role: str
    caption: str
    width: int
    height: int
    repeats: int
    caption_from: str


@dataclass(frozen=True)
class Adapter:
    """The file that comes out, without its tensors."""

    sha256: str
    size: int
    """Bytes."""

    metadata: dict[str, str]


@dataclass(frozen=True)
class Inputs:
    """Everything; the page depends on nothing else."""

    resolved: dict[str, Any]
    train: dict[str, float]
    environment: dict[str, Any]
    steps: list[Step]
    """At least one."""

    adapter: Adapter
    snapshots: list[str]
    snapshot_losses: dict[str, dict[str, float]]
    """By snapshot and role; empty where there are no pictures that were never trained on."""

    manifest_hash: str
    photos: list[Photo]
    drawn: list[Drawn]


def read(root: Path) -> Inputs:
    """Read the project's results.

    Raises:
        UserError: a file is missing, with the command that makes it.
    """
    photographed = _read(root / MANIFEST, ManifestFile)
    train = _read(root / RECORD, dict[str, float])
    for key in USED:
        read_value(root, key)
    return Inputs(
        resolved=read_resolved(root),
        train=train,
        environment=_read(root / ENVIRONMENT, _Environment).environment,
        steps=_steps(root / LOSSES),
        adapter=_adapter(root / ADAPTER),
        snapshots=sorted(path.stem for path in (root / SNAPSHOTS).glob("step-*.safetensors")),
        snapshot_losses=_snapshot_losses(root / SNAPSHOTS / "losses.json", train),
        manifest_hash=photographed.hash,
        photos=_photos(photographed, root / IMAGES),
        drawn=_drawn(root / SAMPLES),
    )


def _read(path: Path, kind: type[Record]) -> Record:
    return read_record(path, kind, str(path), AGAIN)


def _snapshot_losses(path: Path, train: dict[str, float]) -> dict[str, dict[str, float]]:
    if not path.exists():
        return {}
    losses = _read(path, dict[str, dict[str, float]])
    roles = {role for role in NEVER_TRAINED if f"{role}_loss" in train}
    if any(each.keys() != roles for each in losses.values()):
        raise UserError.of(where=str(path), what=OTHER_ROLES, fix=AGAIN)
    return losses


def _steps(path: Path) -> list[Step]:
    try:
        text = read_bytes(path).decode("utf-8")
        header, *lines = text.splitlines()
        if not lines or not text.endswith("\n") or "learning_rate" not in header.split("\t"):
            raise ValueError("cut off, or no such table")
        rows = (dict(zip(header.split("\t"), line.split("\t"), strict=True)) for line in lines)
        return [
            Step(
                int(row["step"]),
                _finite(row["loss"]),
                _finite(row["learning_rate"]),
                _finite(row["prior_loss"]) if "prior_loss" in row else None,
            )
            for row in rows
        ]
    except OSError as error:
        what = f"cannot be read: {error.strerror or error}"
        raise UserError.of(where=str(path), what=what, fix=AGAIN) from error
    except (ValueError, KeyError) as error:
        what = "is not what the train stage writes"
        raise UserError.of(where=str(path), what=what, fix=AGAIN) from error


def _finite(text: str) -> float:
    if not math.isfinite(value := float(text)):
        raise ValueError(text)
    return value


def _adapter(path: Path) -> Adapter:
    if not path.is_file():
        raise UserError.of(where=str(path), what="is missing", fix=AGAIN)
    metadata = read_header(path).metadata
    return Adapter(sha256_file(path), path.stat().st_size, dict(metadata))


def _photos(manifest: ManifestFile, folder: Path) -> list[Photo]:
    prepared = read_prepared(folder, manifest.images)
    return [
        Photo(
            folder / entry.file,
            image.path,
            image.role,
            image.caption,
            image.width,
            image.height,
            image.repeats,
            image.caption_from,
        )
        for image, entry in zip(manifest.images, prepared, strict=True)
    ]


def _drawn(folder: Path) -> list[Drawn]:
    return [
        Drawn(folder / image.file, image.row, image.prompt, image.seed, image.adapter)
        for image in read_index(folder)
    ]
