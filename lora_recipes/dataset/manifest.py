"""The list of pictures, captions and hashes: what a run's data were, whatever their folder."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from dataclasses import fields as fields_of
from pathlib import Path

from lora_recipes.dataset.roles import hashed
from lora_recipes.errors import UserError, Wording
from lora_recipes.files import write_text
from lora_recipes.hashing import digest
from lora_recipes.records import EXACT, read_record

SCHEMA = 1
GENERATED = "generated"
"""Where the words of pictures come from that the base generated: they were its prompts."""

AGAIN: Wording = "run `dvc repro`, which writes it"


@dataclass(frozen=True)
class Image:
    """One picture of the data folder."""

    __pydantic_config__ = EXACT

    path: str
    """POSIX, relative to the data folder, Unicode NFC."""

    role: str
    """`train`; `heldout`: the subject, never trained on; `control`: other things, likewise;
    `regularization`: the class or other things, trained on beside the subject."""

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
    """`file`, `metadata`, `folder` or `template`; `generated` where the base drew the picture."""

    repeats: int = 1
    """From a `N_name` folder; multiplies train.repeats."""

    mask: str = ""
    """What says which part is learned: `alpha`, or the path of a file. Empty: all of it is."""

    mask_sha256: str = ""
    """Of that file. Empty for `alpha`, which the picture's own hash covers."""

    mask_share: float = 1.0
    """How much of the whole picture counts, 0 to 1."""

    flip: bool = False
    """Whether it may be looked at mirrored. A setting, no property of the data."""

    captions: tuple[str, ...] = ()
    """All that are written for the picture, where there are several; `caption` is the first."""

    variants: tuple[str, ...] = ()
    """What `dataset.caption` makes of its captions; empty where that is the caption alone. The
    manifest's hash does not cover them: they are the recipe's, not the data's."""

    @property
    def texts(self) -> tuple[str, ...]:
        """All texts that may go with it; the first is the caption as written."""
        return self.variants or (self.caption,)


NOT_THERE = {
    "captions": (), "variants": (), "mask": "", "mask_sha256": "", "mask_share": 1.0, "flip": False,
}  # fmt: skip
"""Fields that are left out where they say nothing."""


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
    mask: str = ""
    mask_sha256: str = ""


@dataclass(frozen=True)
class Manifest:
    """A dataset: `hash` names it, and changes with any picture, caption, name, role or repeat.

    Pictures that the base generated are listed and not part of the hash.
    """

    hash: str
    images: tuple[Image, ...]
    """Sorted by role and path."""

    def with_images(self, more: Iterable[Image]) -> Manifest:
        """The same with further pictures."""
        return make([*self.images, *more])

    def listed(self) -> tuple[ListedPicture, ...]:
        """What preparing the pictures takes, in the order of their paths."""
        names = [field.name for field in fields_of(ListedPicture)]
        return tuple(
            ListedPicture(**{name: getattr(image, name) for name in names})
            for image in sorted(self.images, key=lambda image: image.path)
        )


def make(images: Iterable[Image]) -> Manifest:
    """Sort pictures and hash what training can see of them."""
    ordered = tuple(sorted(images, key=lambda image: (hashed(image.role), image.path)))
    own = [hashed_fields(image) for image in ordered if image.caption_from != GENERATED]
    return Manifest(content_hash(own), ordered)


HashedFields = dict[str, str | int | list[str]]
"""role, path, sha256, caption and repeats of one picture; `captions` where it has several, and the
`mask_sha256` of its mask's file where it has one."""


def hashed_fields(image: Image) -> HashedFields:
    """The part of a picture's entry that the manifest's hash covers.

    What only some pictures have is part of it only there: so pins of data without it hold.
    """
    fields: HashedFields = {
        "role": hashed(image.role),
        "path": image.path,
        "sha256": image.sha256,
        "caption": image.caption,
        "repeats": image.repeats,
    }
    if image.captions:
        fields["captions"] = list(image.captions)
    if image.mask_sha256:
        fields["mask_sha256"] = image.mask_sha256
    return fields


def content_hash(fields: list[HashedFields]) -> str:
    """The manifest's hash, from every picture's hashed fields in manifest order."""
    return digest({"schema": SCHEMA, "images": fields})


def write(path: Path, manifest: Manifest) -> None:
    """Write `build/manifest.json`."""
    content = {
        "schema": SCHEMA,
        "hash": manifest.hash,
        "images": [_plain(image) for image in manifest.images],
    }
    write_text(path, json.dumps(content, indent=1, ensure_ascii=False, sort_keys=True) + "\n")


def _plain(entry: Image | ListedPicture) -> dict[str, object]:
    """All of a picture's entry, without what it has not."""
    return {name: value for name, value in vars(entry).items() if NOT_THERE.get(name) != value}


def write_pictures(path: Path, manifest: Manifest) -> None:
    """Write `build/pictures.json`, in the order of the paths."""
    content = {"schema": SCHEMA, "pictures": [_plain(listed) for listed in manifest.listed()]}
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
