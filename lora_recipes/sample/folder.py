"""The index of the folder of pictures."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from lora_recipes.files import write_text
from lora_recipes.sample.plan import Picture


def write_index(folder: Path, pictures: Sequence[Picture]) -> None:
    """Write `index.json`, which lists every picture in order."""
    index = {"pictures": [{"file": picture.file, **asdict(picture)} for picture in pictures]}
    text = json.dumps(index, indent=1, ensure_ascii=False, sort_keys=True) + "\n"
    write_text(folder / "index.json", text)
