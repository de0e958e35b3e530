"""The folder of pictures: complete and fresh, or as it was before."""

from __future__ import annotations

import contextlib
import json
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path

from lora_recipes.files import write_text
from lora_recipes.sample.plan import Picture


@contextlib.contextmanager
def fresh_folder(path: Path) -> Iterator[Path]:
    """An empty folder that takes the place of `path` on success and is gone on failure."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=f".{path.name}.", suffix=".tmp", dir=path.parent))
    try:
        yield temporary
        temporary.chmod(0o755)
        if path.exists():
            shutil.rmtree(path)
        temporary.rename(path)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def write_index(folder: Path, pictures: Sequence[Picture]) -> None:
    """Write `index.json`, which lists every picture in order."""
    index = {"pictures": [{"file": picture.file, **asdict(picture)} for picture in pictures]}
    text = json.dumps(index, indent=1, ensure_ascii=False, sort_keys=True) + "\n"
    write_text(folder / "index.json", text)
