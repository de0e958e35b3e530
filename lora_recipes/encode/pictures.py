"""What the stages before left: pictures of the right size, and their words. No torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from lora_recipes.dataset.manifest import Image, Manifest
from lora_recipes.errors import UserError
from lora_recipes.recipe.cover import cover
from lora_recipes.records import EXACT, read_record
from lora_recipes.text import first_few

INDEX = "index.json"
AGAIN = "run `dvc repro prepare`, which writes it anew"


@dataclass(frozen=True)
class IndexedPicture:
    """One picture as `build/images/index.json` has it. Sizes are (width, height)."""

    __pydantic_config__ = EXACT

    path: str
    """As in the manifest."""

    file: str
    """Relative to `build/images`."""

    pixels: str
    """Hash of the pixels and size."""

    original_size: tuple[int, int]
    crop: tuple[int, int]
    """Top and left."""

    size: tuple[int, int]
    mask: str = ""
    """Which part of it counts, as a file relative to `build/images`; empty where all of it does."""

    mask_pixels: str = ""
    """Hash of the mask's pixels and size."""


@dataclass(frozen=True)
class _IndexFile:
    """What stands in `build/images/index.json`."""

    images: tuple[IndexedPicture, ...]


def read_prepared(folder: Path, images: Sequence[Image]) -> list[IndexedPicture]:
    """What the prepare stage says of the manifest's images, in their order.

    Raises:
        UserError: the folder is not there, not what the prepare stage writes, or of other images.
    """
    index = read_record(folder / INDEX, _IndexFile, str(folder / INDEX), AGAIN)
    prepared = {picture.path: picture for picture in index.images}
    if missing := [image.path for image in images if image.path not in prepared]:
        raise UserError.of(
            where=str(folder / INDEX),
            what=f"is of other pictures than the manifest: {first_few(missing, 5)}",
            fix=AGAIN,
        )
    return [prepared[image.path] for image in images]


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
    texts: tuple[str, ...]
    """All that may go with it; the first is its caption as written."""

    repeats: int
    mask: Path | None = None
    mask_pixels: str = ""
    flip: bool = False
    """Whether it is to be encoded mirrored as well."""

    is_mirrored: bool = False
    """Whether this is the mirrored picture; `file` is not mirrored."""

    @property
    def time_ids(self) -> tuple[int, int, int, int, int, int]:
        """Original height and width, crop top and left, target height and width.

        Source: Podell et al. 2023, arXiv:2307.01952, section 2.2; the order is diffusers'.
        """
        return (*self.original_size[::-1], *self.crop, *self.size[::-1])

    @property
    def looks(self) -> tuple[PreparedPicture, ...]:
        """The picture, and the mirrored one where it is asked for."""
        return (self, self.mirrored()) if self.flip else (self,)

    def mirrored(self) -> PreparedPicture:
        """The same picture, left to right: its left is what was cut off at the right."""
        top, left = self.crop
        right = cover(self.original_size, self.size)[0] - self.size[0] - left
        pixels = f"mirrored {self.pixels}"
        return replace(self, pixels=pixels, crop=(top, right), is_mirrored=True)


def read_pictures(folder: Path, manifest: Manifest) -> list[PreparedPicture]:
    """The prepared pictures of `index.json`, in the manifest's order.

    Raises:
        UserError: the folder is not there, not what the prepare stage writes, or of other data.
    """
    prepared = read_prepared(folder, manifest.images)
    pairs = zip(manifest.images, prepared, strict=True)
    return [_picture(folder, image, entry) for image, entry in pairs]


def _picture(folder: Path, image: Image, entry: IndexedPicture) -> PreparedPicture:
    return PreparedPicture(
        path=image.path,
        role=image.role,
        file=folder / entry.file,
        pixels=entry.pixels,
        original_size=entry.original_size,
        crop=entry.crop,
        size=entry.size,
        texts=image.texts,
        repeats=image.repeats,
        mask=folder / entry.mask if entry.mask else None,
        mask_pixels=entry.mask_pixels,
        flip=image.flip,
    )
