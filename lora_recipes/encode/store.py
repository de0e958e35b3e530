"""The folder of encoded pictures, `build/encoded/`: what is in it and how to read it.

index.json                  what belongs to which picture
moments/<hash>.safetensors     mean, std   [4, height / 8, width / 8] float32
text/<hash>.safetensors        tokens [77, D], pooled [P]              float32

A file is named by the hash of its own bytes, so the index stands for the whole folder: whoever
knows its hash need not read the rest, and a file that was damaged or edited is told when it is
read.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from lora_recipes.errors import UserError
from lora_recipes.files import read_bytes, write_text
from lora_recipes.records import EXACT, read_record

if TYPE_CHECKING:
    from torch import Tensor

INDEX = "index.json"

NAME_LENGTH = 32
"""Hex digits of a hash in a file's name: 128 bits, no two alike by chance."""


@dataclass(frozen=True)
class Example:
    """One picture and the texts that may go with it, encoded. Files are relative to the folder."""

    __pydantic_config__ = EXACT

    path: str
    """The picture's path in the data folder."""

    role: str
    """One of `dataset.roles`."""

    repeats: int
    moments: str
    texts: tuple[str, ...]
    """Each as likely as another while training; number 0 is the caption as written."""

    time_ids: tuple[int, int, int, int, int, int]
    """Original height and width, crop top and left, target height and width, in pixels.

    In the order that diffusers' SDXL pipeline gives them to the UNet.
    """

    mask: str = ""
    """Which parts count, as a file; empty where all of it does."""

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in pixels: latents of one size can share a batch."""
        return self.time_ids[5], self.time_ids[4]

    @property
    def files(self) -> tuple[str, ...]:
        """All files of it."""
        return (self.moments, *self.texts, *([self.mask] if self.mask else []))


@dataclass(frozen=True)
class EncodedIndex:
    """All encoded pictures in the manifest's order, and what the numbers depend on."""

    __pydantic_config__ = EXACT

    images: tuple[Example, ...]
    manifest: str
    """The hash of the dataset."""

    latent_scale: float
    """Latents are multiplied by this before noise is added."""

    prediction: str
    """What the UNet predicts: `epsilon` or `v_prediction`."""

    components: Mapping[str, str]
    """Hashes of the VAE, the text encoders and the tokenizers."""

    empty_text: str = ""
    """The file of the empty text; empty where it was not encoded."""


def write_index(folder: Path, index: EncodedIndex) -> None:
    """Write `index.json`, the last file of a complete folder."""
    fields = asdict(index)
    if not index.empty_text:
        del fields["empty_text"]
    for image in fields["images"]:
        if not image["mask"]:
            del image["mask"]
    text = json.dumps(fields, indent=1, ensure_ascii=False, sort_keys=True)
    write_text(folder / INDEX, text + "\n")


def read_index(folder: Path) -> EncodedIndex:
    """Read `index.json`.

    Raises:
        UserError: the folder is not there, not complete or of another version.
    """
    return read_record(folder / INDEX, EncodedIndex, str(folder / INDEX), _AGAIN)


def write_file(folder: Path, kind: str, tensors: Mapping[str, Tensor]) -> str:
    """Write one file of the folder; its name, relative to the folder.

    Args:
        kind: the sub-folder: `moments` or `text`.
    """
    from lora_recipes.tensors import file_blocks, write_tensors

    name = f"{kind}/{_hash(file_blocks(tensors, {}))}.safetensors"
    write_tensors(folder / name, tensors, {})
    return name


def load_moments(path: Path) -> tuple[Tensor, Tensor]:
    """The VAE posterior's mean and standard deviation, each [C, H, W] float32, unscaled.

    Raises:
        UserError: the file is missing, or not the one that the encode stage wrote.
    """
    return _load(path, ("mean", "std"))


def load_text(path: Path) -> tuple[Tensor, Tensor]:
    """A caption's embeddings: tokens [77, D] and pooled [P], float32.

    Raises:
        UserError: the file is missing, or not the one that the encode stage wrote.
    """
    return _load(path, ("tokens", "pooled"))


def file_size(path: Path) -> int:
    """Bytes of one file of the folder.

    Raises:
        UserError: it is missing.
    """
    with _reading(path):
        return path.stat().st_size


def _load(path: Path, names: Sequence[str]) -> tuple[Tensor, Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load

    with _reading(path):
        content = read_bytes(path)
    damaged = "was damaged or edited: its content is not what its name says"
    if _hash([content]) != path.stem:
        raise _other_file(path, damaged)
    try:
        tensors: dict[str, Tensor] = load(content)
    except SafetensorError as error:
        raise _other_file(path, damaged) from error
    if sorted(tensors) != sorted(names):
        what = f"holds {', '.join(sorted(tensors))} instead of {' and '.join(names)}"
        raise _other_file(path, what)
    return tensors[names[0]], tensors[names[1]]


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise _other_file(path, f"cannot be read: {error.strerror or error}") from error


def _other_file(path: Path, what: str) -> UserError:
    return UserError.of(where=str(path), what=what, fix=_AGAIN)


_AGAIN = "run `dvc repro encode`, which writes it anew"


def _hash(blocks: Iterable[bytes]) -> str:
    state = hashlib.sha256()
    for block in blocks:
        state.update(block)
    return state.hexdigest()[:NAME_LENGTH]
