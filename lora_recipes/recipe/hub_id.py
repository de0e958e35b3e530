"""Telling a Hugging Face id from a path, the same way for every key that takes either."""

from __future__ import annotations

import os
import re
from pathlib import Path

HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
USUAL_FOLDERS = ("models", "data")
"""Nobody's name on the hub is meant by these, even before the folder exists."""
FILES = (".safetensors", ".ckpt", ".bin", ".pt", ".pth")
LONGEST = 96
"""Letters of an id, owner and slash included. Source: huggingface_hub, validate_repo_id."""

LONGEST_PART = 255
"""Bytes of a file's name on nearly every file system."""


def can_be_a_path(name: str, root: Path) -> bool:
    """Whether a file can have that name: one too long, with a NUL, with half of a surrogate pair
    or with the `~` of a user whom nobody knows, cannot."""
    try:
        path = root / Path(name).expanduser()
        path.lstat()
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        return all(len(os.fsencode(part)) <= LONGEST_PART for part in path.parts)
    except (OSError, ValueError, RuntimeError):
        return False
    return True


def lies_here(name: str, root: Path) -> bool:
    """Whether there is a file or folder of that name."""
    try:
        return (root / Path(name).expanduser()).exists()
    except (OSError, ValueError, RuntimeError):
        return False


def is_hub_id(name: str, root: Path) -> bool:
    """Whether `base.model` and the like name a Hugging Face repository, not a local path.

    `owner/name` is a local path where a folder `owner` exists, and where it ends like a file.
    """
    if not HUB_ID.fullmatch(name) or len(name) > LONGEST:
        return False
    path = Path(name)
    in_a_folder = len(path.parts) > 1 and (
        path.parts[0] in USUAL_FOLDERS or (root / path.parts[0]).is_dir()
    )
    return not (path.suffix.lower() in FILES or in_a_folder or (root / path).exists())
