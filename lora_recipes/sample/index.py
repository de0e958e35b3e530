"""The index of the folder of sample images."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from lora_recipes.files import write_text
from lora_recipes.sample.sample_images import SampleImage


def write_index(folder: Path, images: Sequence[SampleImage]) -> None:
    """Write `index.json`, which lists every image in order."""
    index = {"pictures": [{"file": image.file, **asdict(image)} for image in images]}
    text = json.dumps(index, indent=1, ensure_ascii=False, sort_keys=True) + "\n"
    write_text(folder / "index.json", text)
