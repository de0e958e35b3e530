"""The list of pictures, captions and hashes: what a run's data were, whatever their folder."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from lora_recipes.dataset.roles import hashed
from lora_recipes.errors import Problem, UserError, Wording
from lora_recipes.files import write_text
from lora_recipes.hashing import digest

SCHEMA = 1
AGAIN: Wording = "run `dvc repro`, which writes it"


@dataclass(frozen=True)
class Image:
    """One picture of the data folder."""

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


@dataclass(frozen=True)
class ListedPicture:
    """One picture as `build/pictures.json` has it: all that preparing it takes.

    No caption, role or repeats, so that an edit of these prepares nothing again.
    """

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

    def of_role(self, role: str) -> tuple[Image, ...]:
        """The pictures of one role."""
        return tuple(image for image in self.images if image.role == role)

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


HashedFields = dict[str, str | int]
"""role, path, sha256, caption and repeats of one picture."""


def hashed_fields(image: Image) -> HashedFields:
    """The part of a picture's entry that the manifest's hash covers."""
    return {
        "role": hashed(image.role),
        "path": image.path,
        "sha256": image.sha256,
        "caption": image.caption,
        "repeats": image.repeats,
    }


def content_hash(fields: list[HashedFields]) -> str:
    """The manifest's hash, from every picture's hashed fields in manifest order."""
    return digest({"schema": SCHEMA, "images": fields})


def write(path: Path, manifest: Manifest) -> None:
    """Write `build/manifest.json`."""
    content = {
        "schema": SCHEMA,
        "hash": manifest.hash,
        "images": [vars(image) for image in manifest.images],
    }
    write_text(path, json.dumps(content, indent=1, ensure_ascii=False, sort_keys=True) + "\n")


def write_pictures(path: Path, manifest: Manifest) -> None:
    """Write `build/pictures.json`, in the order of the paths."""
    content = {"schema": SCHEMA, "pictures": [vars(listed) for listed in manifest.listed()]}
    write_text(path, json.dumps(content, indent=1, ensure_ascii=False, sort_keys=True) + "\n")


def read_pictures(path: Path) -> tuple[ListedPicture, ...]:
    """Read `build/pictures.json`.

    Raises:
        UserError: it is missing, or not as the dataset stage writes it.
    """
    with _readable(path, "list of pictures"):
        content = json.loads(path.read_text("utf-8"))
        return tuple(ListedPicture(**picture) for picture in content["pictures"])


@contextmanager
def _readable(path: Path, what: str) -> Iterator[None]:
    """A file of the dataset stage that cannot be read as such is the user's to make again."""
    where = f"{path.parent.name}/{path.name}"
    try:
        yield
    except FileNotFoundError as error:
        raise UserError(Problem(where=where, what=f"there is no {what}", fix=AGAIN)) from error
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(Problem(where=where, what=f"cannot be read: {error}", fix=AGAIN)) from error


def read(path: Path) -> Manifest:
    """Read `build/manifest.json`.

    Raises:
        UserError: it is missing, or not as the dataset stage wrote it.
    """
    with _readable(path, "manifest"):
        content = json.loads(path.read_text("utf-8"))
        manifest = make(Image(**image) for image in content["images"])
        as_written = content["hash"] == manifest.hash and content["schema"] == SCHEMA
    if not as_written:
        where = f"{path.parent.name}/{path.name}"
        raise UserError(Problem(where=where, what="was changed by hand", fix=AGAIN))
    return manifest
