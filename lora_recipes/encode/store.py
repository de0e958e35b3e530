"""The folder of encoded pictures, `build/encoded/`: what is in it and how to read it.

index.json                  what belongs to which picture
moments/<pixels>.safetensors   mean, std   [4, height / 8, width / 8] float32
text/<caption>.safetensors     tokens [77, D], pooled [P]              float32
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from lora_recipes.errors import Problem, UserError
from lora_recipes.files import write_text

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class EncodedImage:
    """One picture and its caption, encoded. Files are relative to the folder."""

    path: str
    """The picture's path in the data folder."""

    role: str
    """`train`, `heldout` or `others`."""

    moments: str
    text: str
    time_ids: tuple[int, int, int, int, int, int]
    """Original height and width, crop top and left, target height and width, in pixels.

    In the order that diffusers' SDXL pipeline gives them to the UNet.
    """

    caption: str
    repeats: int
    tokens: int
    """How many tokens the caption has, start and end included; the text encoders read 77."""


@dataclass(frozen=True)
class EncodedIndex:
    """All encoded pictures in the manifest's order, and what the numbers depend on."""

    images: tuple[EncodedImage, ...]
    manifest: str
    """The hash of the dataset."""

    latent_scale: float
    """Latents are multiplied by this before noise is added."""

    prediction: str
    """What the UNet predicts: `epsilon` or `v_prediction`."""

    components: Mapping[str, str]
    """Hashes of the VAE, the text encoders and the tokenizers."""


def write_index(folder: Path, index: EncodedIndex) -> None:
    """Write `index.json`, the last file of a complete folder."""
    text = json.dumps(asdict(index), indent=1, ensure_ascii=False, sort_keys=True)
    write_text(folder / "index.json", text + "\n")


def read_index(folder: Path) -> EncodedIndex:
    """Read `index.json`.

    Raises:
        UserError: the folder is not there, not complete or of another version.
    """
    path = folder / "index.json"
    try:
        fields = json.loads(path.read_text("utf-8"))
        images = [
            EncodedImage(**{**image, "time_ids": tuple(image["time_ids"])})
            for image in fields.pop("images")
        ]
        return EncodedIndex(images=tuple(images), **fields)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(
            Problem(
                where=str(path),
                what="is missing or is not what the encode stage writes",
                fix="run `dvc repro encode`, which writes it anew",
            )
        ) from error


def load_moments(path: Path) -> tuple[Tensor, Tensor]:
    """The VAE posterior's mean and standard deviation, each [C, H, W] float32, unscaled.

    Raises:
        UserError: the file is missing or damaged.
    """
    return _load(path, ("mean", "std"))


def load_text(path: Path) -> tuple[Tensor, Tensor]:
    """A caption's embeddings: tokens [77, D] and pooled [P], float32.

    Raises:
        UserError: the file is missing or damaged.
    """
    return _load(path, ("tokens", "pooled"))


def _load(path: Path, names: Sequence[str]) -> tuple[Tensor, Tensor]:
    from lora_recipes.tensors import read_tensors

    tensors = read_tensors(path)
    if sorted(tensors) != sorted(names):
        raise UserError(
            Problem(
                where=str(path),
                what=f"holds {', '.join(sorted(tensors))} instead of {' and '.join(names)}",
                fix="run `dvc repro encode`, which writes it anew",
            )
        )
    return tensors[names[0]], tensors[names[1]]
