"""Writing files so that a reader sees the old content or the new, never half of it."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from lora_recipes.errors import Problem, UserError


@contextlib.contextmanager
def atomic_file(path: Path) -> Iterator[BinaryIO]:
    """Open a new file beside `path`; on success it replaces `path`, on failure nothing stays.

    Raises:
        UserError: the disk is full or the folder cannot be written to.
    """
    temporary = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".tmp", dir=path.parent)
        temporary = Path(name)
        with os.fdopen(handle, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.chmod(0o666 & ~_umask())
        temporary.replace(path)
    except OSError as error:
        raise UserError(
            Problem(
                where=str(path),
                what=f"cannot be written: {error.strerror or error}",
                fix="free some space or choose a folder that you may write to, then run it again; "
                "nothing half-written was left behind",
            )
        ) from error
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)


def write_bytes(path: Path, data: bytes) -> None:
    """Write a whole file, atomically."""
    with atomic_file(path) as file:
        file.write(data)


def write_text(path: Path, text: str) -> None:
    """Write a whole UTF-8 file with `\\n` line ends, atomically."""
    write_bytes(path, text.encode("utf-8"))


def own_folder(root: Path) -> Path:
    """`.lora` of the user's project: caches, checkpoints and run records; git never sees it.

    DVC's experiments run in throw-away copies; DVC_ROOT is the user's repository even there.
    """
    return Path(os.environ.get("DVC_ROOT") or root) / ".lora"


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
