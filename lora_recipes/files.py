"""Writing files so that a reader sees the old content or the new, never half of it."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import stat
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from lora_recipes.errors import Problem, UserError

TEMPORARY = ".?*.????????.tmp"
"""What files and folders are called until they are complete: `.adapter.safetensors.x2b_81k0.tmp`.
Git and DVC never see such names."""

ABANDONED_SECONDS = 3600.0
"""A temporary file that nobody wrote to for so long is what a killed process left."""


@contextlib.contextmanager
def atomic_file(path: Path) -> Iterator[BinaryIO]:
    """Open a new file beside `path`; on success it replaces `path`, on failure nothing stays.

    Raises:
        UserError: the disk is full or the folder cannot be written to.
    """
    temporary = None
    try:
        with writing(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".tmp", dir=path.parent)
            temporary = Path(name)
            with os.fdopen(handle, "wb") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            temporary.chmod(0o666 & ~_umask())
            temporary.replace(path)
    finally:
        if temporary is not None:
            with contextlib.suppress(OSError):  # the folder was taken away
                temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def writing(path: Path) -> Iterator[None]:
    """Say in one form what the system refuses while a file or folder is written or removed.

    Raises:
        UserError: the disk is full or the folder cannot be written to.
    """
    try:
        yield
    except OSError as error:
        raise UserError(
            Problem(
                where=str(path),
                what=f"cannot be written: {error.strerror or error}",
                fix="free some space or choose a folder that you may write to, then run it again; "
                "nothing half-written was left behind",
            )
        ) from error


def read_bytes(path: Path) -> bytes:
    """The content of an ordinary file.

    Raises:
        OSError: there is none, or it is a folder, or a pipe or device, which one could wait for
            without end.
    """
    if not path.is_dir() and not stat.S_ISREG(path.stat().st_mode):
        raise OSError(errno.EINVAL, "is a pipe or a device, not a file")
    return path.read_bytes()


def write_bytes(path: Path, data: bytes) -> None:
    """Write a whole file, atomically."""
    with atomic_file(path) as file:
        file.write(data)


def write_text(path: Path, text: str) -> None:
    """Write a whole UTF-8 file with `\\n` line ends, atomically."""
    write_bytes(path, text.encode("utf-8"))


@contextlib.contextmanager
def all_or_nothing(*paths: Path) -> Iterator[None]:
    """Old files and folders of these names go first; if anything fails, no new one stays.

    Raises:
        UserError: an old one cannot be removed.
    """
    for path in paths:
        with writing(path):
            remove(path)
    try:
        yield
    except BaseException:
        for path in paths:
            with contextlib.suppress(OSError):  # what went wrong first is what is told
                remove(path)
        raise


@contextlib.contextmanager
def fresh_folder(path: Path) -> Iterator[Path]:
    """An empty folder that takes the place of `path` on success and is gone on failure.

    Raises:
        UserError: the folder around it cannot be written to.
    """
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=f".{path.name}.", suffix=".tmp", dir=path.parent))
    try:
        yield temporary
        with writing(path):
            temporary.chmod(0o777 & ~_umask())
            remove(path)
            temporary.rename(path)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def remove(path: Path) -> None:
    """Delete a file, or a folder with all that is in it, if it is there."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def remove_temporaries(folder: Path, name: str = "", older_than: float = ABANDONED_SECONDS) -> None:
    """Delete what killed processes left half-written in a folder, not in those below it.

    Args:
        folder: need not be there.
        name: only what was to become the file or folder of that name.
        older_than: seconds; 0 where nobody else can be writing.
    """
    pattern = TEMPORARY.replace("?*", name) if name else TEMPORARY
    for path in folder.glob(pattern):
        with contextlib.suppress(OSError):  # another process may be quicker
            if time.time() - path.lstat().st_mtime >= older_than:
                remove(path)


def own_folder(root: Path) -> Path:
    """`.lora` of the user's project: caches, checkpoints and run records; git never sees it.

    DVC's experiments run in throw-away copies; DVC_ROOT is the user's repository even there.
    """
    return Path(os.environ.get("DVC_ROOT") or root) / ".lora"


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
