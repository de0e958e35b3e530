"""All that the page shows, read from the stages' files in one place."""

from __future__ import annotations

import json
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
    manifest_hash: str
    photos: list[Photo]
    drawn: list[Drawn]


def read(root: Path) -> Inputs:
    """Read the project's results.

    Raises:
        UserError: a file is missing, with the command that makes it.
    """
    out = root / "out"
    manifest = _json(root / "build" / "manifest.json")
    return Inputs(
        resolved=read_resolved(root),
        train=_json(out / "train.json"),
        environment=_json(out / "environment.json")["environment"],
        steps=_steps(_text(out / "loss.tsv")),
        adapter=_adapter(out / "adapter.safetensors"),
        snapshots=sorted(path.stem for path in (out / "snapshots").glob("step-*.safetensors")),
        manifest_hash=manifest["hash"],
        photos=_photos(manifest, root / "build" / "images"),
        drawn=_drawn(out / "samples"),
    )


def _steps(text: str) -> list[Step]:
    header, *lines = text.splitlines()
    names = header.split("\t")
    rows = (dict(zip(names, line.split("\t"), strict=True)) for line in lines)
    return [Step(int(row["step"]), float(row["loss"]), float(row["learning_rate"])) for row in rows]


def _adapter(path: Path) -> Adapter:
    return Adapter(sha256_file(path), path.stat().st_size, dict(read_header(path).metadata))


def _photos(manifest: dict[str, Any], folder: Path) -> list[Photo]:
    files = {one["path"]: folder / one["file"] for one in _json(folder / "index.json")["images"]}
    return [
        Photo(
            files[image["path"]],
            image["path"],
            image["role"],
            image["caption"],
            image["width"],
            image["height"],
            image["repeats"],
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
        for picture in _json(folder / "index.json")["pictures"]
    ]


def _json(path: Path) -> dict[str, Any]:
    value: dict[str, Any] = json.loads(_text(path))
    return value


def _text(path: Path) -> str:
    try:
        return path.read_text("utf-8")
    except OSError as error:
        raise UserError(
            Problem(
                where=str(path),
                what=f"cannot be read: {error.strerror}",
                fix="run `dvc repro`, which makes it",
            )
        ) from error
