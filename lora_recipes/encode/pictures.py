"""What the stages before left: pictures of the right size, and their words. No torch."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lora_recipes.dataset.manifest import Image, Manifest
from lora_recipes.errors import UserError


@dataclass(frozen=True)
class PreparedPicture:
    """One picture as the prepare stage left it, and what the manifest says of it.

    Sizes are (width, height), the crop is (top, left).
    """

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


def read_pictures(folder: Path, manifest: Manifest) -> list[PreparedPicture]:
    """The prepared pictures of `index.json`, in the manifest's order.

    Raises:
        UserError: the folder is not there, not what the prepare stage writes, or of other data.
    """
    path = folder / "index.json"
    try:
        prepared = {entry["path"]: entry for entry in json.loads(path.read_text("utf-8"))["images"]}
        return [_picture(folder, image, prepared[image.path]) for image in manifest.images]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError.of(
            where=str(path),
            what="is missing or is not what the prepare stage writes",
            fix="run `dvc repro prepare`, which writes it anew",
        ) from error


def _picture(folder: Path, image: Image, entry: dict[str, Any]) -> PreparedPicture:
    return PreparedPicture(
        path=image.path,
        role=image.role,
        file=folder / entry["file"],
        pixels=entry["pixels"],
        original_size=tuple(entry["original_size"]),
        crop=tuple(entry["crop"]),
        size=tuple(entry["size"]),
        caption=image.caption,
        repeats=image.repeats,
    )
