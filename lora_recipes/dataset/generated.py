"""The regularization pictures that the base generated: `build/prior/`, and as part of the data.

index.json         which prompt, seed, size and hash each picture has
0000.png, …        the pictures

They follow from the recipe and differ between devices, so no pin covers them: the manifest lists
them beside the user's own pictures and leaves them out of its hash.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from lora_recipes.dataset.manifest import GENERATED, Image, Manifest
from lora_recipes.dataset.place import shown
from lora_recipes.dataset.roles import REGULARIZATION
from lora_recipes.errors import UserError
from lora_recipes.files import write_text
from lora_recipes.pipeline import PRIOR
from lora_recipes.recipe.sections.prior import Prior
from lora_recipes.recipe.words import with_word
from lora_recipes.records import EXACT, read_record
from lora_recipes.text import counted

INDEX = "index.json"


@dataclass(frozen=True)
class PriorImage:
    """One picture to generate."""

    number: int
    prompt: str
    seed: int

    @property
    def file(self) -> str:
        """Its file's name, `0000.png`."""
        return f"{self.number:04}.png"


@dataclass(frozen=True)
class GeneratedPicture:
    """One picture as `build/prior/index.json` has it."""

    __pydantic_config__ = EXACT

    file: str
    prompt: str
    seed: int
    sha256: str
    """`sha256:<hex>` of the file's bytes."""

    width: int
    height: int

    @property
    def path(self) -> str:
        """What the manifest and all later stages call it: where it lies in the project."""
        return f"{PRIOR}/{self.file}"


@dataclass(frozen=True)
class _GeneratedIndex:
    """What stands in `build/prior/index.json`."""

    pictures: tuple[GeneratedPicture, ...]


def prior_images(prior: Prior, prompts: Sequence[str]) -> list[PriorImage]:
    """What to generate: the prompts gone round, each picture from the next seed.

    Args:
        prior: the recipe's section.
        prompts: its prompts, with the class word filled in.
    """
    return [
        PriorImage(number, with_word(prompts[number % len(prompts)], number), prior.seed + number)
        for number in range(prior.images)
    ]


def write_index(folder: Path, pictures: Iterable[GeneratedPicture]) -> None:
    """Write `index.json`, the last file of a complete folder."""
    index = {"pictures": [asdict(picture) for picture in pictures]}
    text = json.dumps(index, indent=1, ensure_ascii=False, sort_keys=True)
    write_text(folder / INDEX, text + "\n")


def read_generated(folder: Path) -> tuple[GeneratedPicture, ...]:
    """The pictures of `build/prior`.

    Raises:
        UserError: the folder is not there, or not what the prior stage writes.
    """
    path = folder / INDEX
    return read_record(
        path, _GeneratedIndex, f"{PRIOR}/{INDEX}", "run `dvc repro prior`, which writes it anew"
    ).pictures


def with_generated(
    manifest: Manifest, pictures: Sequence[GeneratedPicture], folder: Path
) -> Manifest:
    """A manifest with generated pictures beside the user's; its hash stays that of the user's.

    Args:
        manifest: of the data folder.
        pictures: as `read_generated` gives them.
        folder: the data folder, for a message.

    Raises:
        UserError: pictures of the data folder have the paths of generated ones.
    """
    taken = {image.path for image in manifest.images} & {picture.path for picture in pictures}
    if taken:
        raise UserError.of(
            where=shown(folder),
            what=f"{counted(len(taken), 'picture')} in {PRIOR}, which is what the pictures that "
            "prior.images generates are called",
            fix=f"rename the folder {PRIOR} in the data folder",
        )
    return manifest.with_images([_image(picture) for picture in pictures])


def _image(picture: GeneratedPicture) -> Image:
    return Image(
        path=picture.path,
        role=REGULARIZATION,
        sha256=picture.sha256,
        width=picture.width,
        height=picture.height,
        format="PNG",
        caption=picture.prompt,
        caption_from=GENERATED,
    )
