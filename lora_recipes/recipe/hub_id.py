"""Telling a Hugging Face id from a path, the same way for every key that takes either."""

from __future__ import annotations

import re
from pathlib import Path

HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
USUAL_FOLDERS = ("models", "data")
"""Nobody's name on the hub is meant by these, even before the folder exists."""
FILES = (".safetensors", ".ckpt", ".bin", ".pt", ".pth")


def is_hub_id(name: str, root: Path) -> bool:
    """Whether `base.model` and the like name a Hugging Face repository, not a local path.

    `owner/name` is a local path where a folder `owner` exists, and where it ends like a file.
    """
    path = Path(name).expanduser()
    in_a_folder = len(path.parts) > 1 and (
        path.parts[0] in USUAL_FOLDERS or (root / path.parts[0]).is_dir()
    )
    local = path.suffix.lower() in FILES or in_a_folder or (root / path).exists()
    return HUB_ID.fullmatch(name) is not None and not local
