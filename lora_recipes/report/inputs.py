"""All that the page shows, read from the stages' files in one place."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lora_recipes.errors import Problem, UserError
from lora_recipes.hashing import sha256_file
from lora_recipes.recipe.resolved import read_resolved
from lora_recipes.tensors import read_header


@dataclass(frozen=True)
class Step:
    """One optimizer step, a line of `out/loss.tsv`."""

    step: int
    loss: float
    learning_rate: float


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
    train: dict[str, Any]
    environment: dict[str, Any]
    steps: list[Step]
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
        UserError: a file is missing or damaged, with the command that makes it.
    """
    out = root / "out"
    losses = out / "snapshots" / "losses.json"
    manifest = _json(root / "build" / "manifest.json", "hash", "images")
    return Inputs(
        resolved=read_resolved(root),
        train=_json(out / "train.json"),
        environment=_json(out / "environment.json", "environment")["environment"],
        steps=_steps(out / "loss.tsv"),
        adapter=_adapter(out / "adapter.safetensors"),
        snapshots=sorted(path.stem for path in (out / "snapshots").glob("step-*.safetensors")),
        snapshot_losses=_json(losses) if losses.exists() else {},
        manifest_hash=manifest["hash"],
        photos=_photos(manifest, root / "build" / "images"),
        drawn=_drawn(out / "samples"),
    )


@contextmanager
def named() -> Iterator[None]:
    """Within the block, a file that cannot be read is named with the command that makes it.

    Raises:
        UserError: there was one.
    """
    try:
        yield
    except OSError as error:
        reason = error.strerror or "it is damaged"
        raise _unreadable(str(error.filename or error), reason) from error


def _steps(path: Path) -> list[Step]:
    try:
        header, *lines = path.read_text("utf-8").splitlines()
        names = header.split("\t")
        if not {"step", "loss", "learning_rate"} <= {*names}:
            raise ValueError(header)
        rows = [dict(zip(names, line.split("\t"), strict=True)) for line in lines]
        return [
            Step(int(row["step"]), float(row["loss"]), float(row["learning_rate"])) for row in rows
        ]
    except ValueError as error:
        raise _unreadable(str(path), "it is damaged") from error


def _adapter(path: Path) -> Adapter:
    return Adapter(sha256_file(path), path.stat().st_size, dict(read_header(path).metadata))


def _photos(manifest: dict[str, Any], folder: Path) -> list[Photo]:
    prepared = _json(folder / "index.json", "images")["images"]
    files = {one["path"]: folder / one["file"] for one in prepared}
    return [
        Photo(
            files[image["path"]],
            image["path"],
            image["role"],
            image["caption"],
            image["width"],
            image["height"],
            image["repeats"],
            image["caption_from"],
        )
        for image in manifest["images"]
    ]


def _drawn(folder: Path) -> list[Drawn]:
    return [
        Drawn(
            folder / picture["file"],
            picture["row"],
            picture["prompt"],
            picture["seed"],
            picture["adapter"],
        )
        for picture in _json(folder / "index.json", "pictures")["pictures"]
    ]


def _json(path: Path, *keys: str) -> dict[str, Any]:
    try:
        value = json.loads(path.read_text("utf-8"))
    except ValueError:
        value = None
    if not isinstance(value, dict) or not {*keys} <= value.keys():
        raise _unreadable(str(path), "it is damaged")
    return value


def _unreadable(file: str, reason: str) -> UserError:
    what = f"cannot be read: {reason}"
    return UserError(Problem(where=file, what=what, fix="run `dvc repro`, which makes it"))
