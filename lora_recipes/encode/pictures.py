"""What the prepare stage left: pictures of the right size, and where they came from. No torch."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from lora_recipes.errors import Problem, UserError


@dataclass(frozen=True)
class Picture:
    """One prepared picture. Sizes are (width, height), the crop is (top, left)."""

    path: str
    role: str
    file: Path
    pixels: str
    """Hash of the picture's pixels and size."""

    original_size: tuple[int, int]
    crop: tuple[int, int]
    size: tuple[int, int]
    caption: str
    repeats: int

    @property
    def time_ids(self) -> tuple[int, int, int, int, int, int]:
        """Original height and width, crop top and left, target height and width.

        Source: Podell et al. 2023, arXiv:2307.01952, section 2.2; the order is diffusers'.
        """
        return (*self.original_size[::-1], *self.crop, *self.size[::-1])


def read_manifest_hash(path: Path) -> str:
    """The dataset's hash, from the dataset stage's manifest.

    Raises:
        UserError: the file is not there or not what the dataset stage writes.
    """
    try:
        return str(json.loads(path.read_text("utf-8"))["hash"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(
            Problem(
                where=str(path),
                what="is missing or is not what the dataset stage writes",
                fix="run `dvc repro dataset`, which writes it anew",
            )
        ) from error


def read_pictures(folder: Path) -> list[Picture]:
    """The prepared pictures in the manifest's order, from `index.json`.

    Raises:
        UserError: the folder is not there or not what the prepare stage writes.
    """
    path = folder / "index.json"
    try:
        return [
            Picture(
                path=image["path"],
                role=image["role"],
                file=folder / image["file"],
                pixels=image["pixels"],
                original_size=tuple(image["original_size"]),
                crop=tuple(image["crop"]),
                size=tuple(image["size"]),
                caption=image["caption"],
                repeats=image["repeats"],
            )
            for image in json.loads(path.read_text("utf-8"))["images"]
        ]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(
            Problem(
                where=str(path),
                what="is missing or is not what the prepare stage writes",
                fix="run `dvc repro prepare`, which writes it anew",
            )
        ) from error
