"""The list of pictures, captions and hashes: what a run's data were, whatever their folder."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from lora_recipes.dataset.roles import hashed
from lora_recipes.errors import UserError, Wording
from lora_recipes.files import write_text
from lora_recipes.hashing import digest
from lora_recipes.records import EXACT, read_record

SCHEMA = 1
AGAIN: Wording = "run `dvc repro`, which writes it"


@dataclass(frozen=True)
class Image:
    """One picture of the data folder."""

    __pydantic_config__ = EXACT

    path: str
    """POSIX, relative to the data folder, Unicode NFC."""

    role: str
    """`train`; `heldout`: the subject, never trained on; `control`: other things, likewise."""

    sha256: str
    """`sha256:<hex>` of the file's bytes."""

    width: int
    """Pixels, after EXIF orientation."""

    height: int
    """Pixels, after EXIF orientation."""

    format: str
    """`JPEG`, `PNG`, …, by the file's bytes."""

    caption: str
    """What the model reads beside the picture. May be empty."""

    caption_from: str
    """`file`, `metadata`, `folder` or `template`."""

    repeats: int = 1
    """From a `N_name` folder; multiplies train.repeats."""

    captions: tuple[str, ...] = ()
    """All that are written for the picture, where there are several; `caption` is the first."""

    variants: tuple[str, ...] = ()
    """What `dataset.caption` makes of its captions; empty where that is the caption alone. The
    manifest's hash does not cover them: they are the recipe's, not the data's."""

    @property
    def texts(self) -> tuple[str, ...]:
        """All texts that may go with it; the first is the caption as written."""
        return self.variants or (self.caption,)


@dataclass(frozen=True)
class ListedPicture:
    """One picture as `build/pictures.json` has it: all that preparing it takes.

    No caption, role or repeats, so that an edit of these prepares nothing again.
    """

    __pydantic_config__ = EXACT

    path: str
    """As `Image.path`."""

    sha256: str
    width: int
    height: int


@dataclass(frozen=True)
class Manifest:
    """A dataset: `hash` names it, and changes with any picture, caption, name, role or repeat."""

    hash: str
    images: tuple[Image, ...]
    """Sorted by role and path."""

    def listed(self) -> tuple[ListedPicture, ...]:
        """What preparing the pictures takes, in the order of their paths."""
        return tuple(
            ListedPicture(image.path, image.sha256, image.width, image.height)
            for image in sorted(self.images, key=lambda image: image.path)
        )


def make(images: Iterable[Image]) -> Manifest:
    """Sort pictures and hash what training can see of them."""
    ordered = tuple(sorted(images, key=lambda image: (hashed(image.role), image.path)))
    return Manifest(content_hash([hashed_fields(image) for image in ordered]), ordered)


HashedFields = dict[str, str | int | list[str]]
"""role, path, sha256, caption and repeats of one picture, and `captions` where it has several."""


def hashed_fields(image: Image) -> HashedFields:
    """The part of a picture's entry that the manifest's hash covers."""
    fields: HashedFields = {
        "role": hashed(image.role),
        "path": image.path,
        "sha256": image.sha256,
        "caption": image.caption,
        "repeats": image.repeats,
    }
    return fields | ({"captions": list(image.captions)} if image.captions else {})


def content_hash(fields: list[HashedFields]) -> str:
    """The manifest's hash, from every picture's hashed fields in manifest order."""
    return digest({"schema": SCHEMA, "images": fields})


def write(path: Path, manifest: Manifest) -> None:
    """Write `build/manifest.json`."""
    content = {
        "schema": SCHEMA,
        "hash": manifest.hash,
        "images": [_fields(image) for image in manifest.images],
    }
    write_text(path, json.dumps(content, indent=1, ensure_ascii=False, sort_keys=True) + "\n")


def _fields(image: Image) -> dict[str, object]:
    """All of a picture's entry, without what it has not."""
    rare = ("captions", "variants")
    return {name: value for name, value in vars(image).items() if value or name not in rare}


def write_pictures(path: Path, manifest: Manifest) -> None:
    """Write `build/pictures.json`, in the order of the paths."""
    content = {"schema": SCHEMA, "pictures": [vars(listed) for listed in manifest.listed()]}
    write_text(path, json.dumps(content, indent=1, ensure_ascii=False, sort_keys=True) + "\n")


def read_pictures(path: Path) -> tuple[ListedPicture, ...]:
    """Read `build/pictures.json`.

    Raises:
        UserError: it is missing, or not as the dataset stage writes it.
    """
    return read_record(path, _Pictures, _shown(path), AGAIN).pictures


@dataclass(frozen=True)
class _Pictures:
    """What stands in `build/pictures.json`."""

    schema: int
    pictures: tuple[ListedPicture, ...]


@dataclass(frozen=True)
class ManifestFile:
    """What stands in `build/manifest.json`."""

    schema: int
    hash: str
    images: tuple[Image, ...]


def _shown(path: Path) -> str:
    return f"{path.parent.name}/{path.name}"


def read(path: Path) -> Manifest:
    """Read `build/manifest.json`.

    Raises:
        UserError: it is missing, or not as the dataset stage wrote it.
    """
    content = read_record(path, ManifestFile, _shown(path), AGAIN)
    manifest = make(content.images)
    if (content.hash, content.schema) != (manifest.hash, SCHEMA):
        raise UserError.of(where=_shown(path), what="was changed by hand", fix=AGAIN)
    return manifest
