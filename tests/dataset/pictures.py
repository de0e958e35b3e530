"""Small pictures and projects that the tests of this floor make for themselves."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from lora_recipes.dataset.generated import write_index
from lora_recipes.recipe.sections.dataset import Dataset
from lora_recipes.recipe.sections.prepare import Prepare


def photo(width: int = 40, height: int = 30, seed: int = 0) -> Image.Image:
    """A smooth RGB picture whose every corner and channel is different."""
    random = np.random.default_rng(seed)
    corners = random.integers(0, 256, (3, 3, 3), dtype=np.uint8)
    return Image.fromarray(corners).resize((width, height), Image.Resampling.BICUBIC)


def data_of(picture: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    """A picture's bytes in a format."""
    buffer = io.BytesIO()
    picture.save(buffer, kind, **options)
    return buffer.getvalue()


def put(folder: Path, name: str, content: bytes | str | Image.Image | None = None) -> Path:
    """Write a file: bytes, text, a picture, or a picture drawn from the name."""
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    if content is None:
        content = photo(seed=sum(name.encode()))
    if isinstance(content, Image.Image):
        content = data_of(content)
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def project(root: Path, dataset: dict[str, Any], prepare: dict[str, Any] | None = None) -> None:
    """params.yaml with data/my, a resolved.yaml of the two sections, and no generated pictures."""
    root.mkdir(parents=True, exist_ok=True)
    (root / "params.yaml").write_text("recipe: any\ndata: data/my\n")
    sections = {
        "dataset": Dataset(**dataset).model_dump(mode="json"),
        "prepare": Prepare(**(prepare or {})).model_dump(mode="json"),
    }
    (root / "resolved.yaml").write_text(json.dumps(sections))
    write_index(root / "build" / "prior", [])


def files_under(folder: Path) -> list[str]:
    """All files below a folder, sorted."""
    return sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())
