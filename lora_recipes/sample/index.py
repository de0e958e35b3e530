"""The index of the folder of sample images."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from lora_recipes.files import write_text
from lora_recipes.records import EXACT, read_record
from lora_recipes.sample.sample_images import SampleImage


@dataclass(frozen=True)
class IndexedImage:
    """One image as `index.json` has it: a `SampleImage`, and its file's name."""

    __pydantic_config__ = EXACT

    file: str
    """Relative to the folder."""

    row: int
    prompt: str
    seed: int
    adapter: str
    strength: float


@dataclass(frozen=True)
class _Index:
    """What stands in `index.json`."""

    pictures: tuple[IndexedImage, ...]


def read_index(folder: Path) -> tuple[IndexedImage, ...]:
    """Every image of the folder, in order.

    Raises:
        UserError: the folder is not there, or not what the sample stage writes.
    """
    path = folder / "index.json"
    return read_record(path, _Index, str(path), "run `dvc repro sample`, which writes it").pictures


def write_index(folder: Path, images: Sequence[SampleImage]) -> None:
    """Write `index.json`, which lists every image in order."""
    index = {"pictures": [{"file": image.file, **asdict(image)} for image in images]}
    text = json.dumps(index, indent=1, ensure_ascii=False, sort_keys=True) + "\n"
    write_text(folder / "index.json", text)
