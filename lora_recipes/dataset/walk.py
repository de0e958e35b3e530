"""Everything that lies in a data folder: ordinary files only, and nothing left out in silence."""

from __future__ import annotations

import errno
import os
import re
import stat
import unicodedata
from collections.abc import Iterator
from pathlib import Path

from lora_recipes.errors import Problem
from lora_recipes.printable import line as brief

MOST_LEVELS = 64
"""Folders inside one another. More are made by mistake or on purpose, not by sorting pictures."""

LEFT_OUT = frozenset(
    {"@eadir", "@recycle", "#recycle", "#snapshot", "$recycle.bin", "__macosx"}
    | {"system volume information"}
)
"""Folders, in small letters, that NAS boxes and operating systems make for themselves: thumbnails
and deleted files. Left out as hidden ones are."""

CACHED = re.compile(r"/[0-9a-f]{2}/[0-9a-f]{30}")
"""How a path in DVC's cache ends, wherever that is: the file's MD5. Only who knows a file's content
can name it so, hence a link cannot fetch what it should not.

Source: DVC's documentation, "Internal directories and files", structure of the cache."""

_KINDS = (
    (stat.S_ISFIFO, "a named pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)
_LINKS = {
    errno.ELOOP: "is a link that leads back to itself",
    errno.ENOENT: "is a link that points to nothing",
    errno.ENOTDIR: "is a link that points to nothing",
}
_OUT = "move it out of the data folder"
_THEMSELVES = (
    "put the files themselves there (`dvc checkout` does, from DVC's cache)"  # a link's fix
)


def walk(folder: Path, shown: str, problems: list[Problem]) -> Iterator[tuple[str, Path]]:
    """(manifest path, file) of everything that is not hidden, in no order. No file is opened.

    Args:
        shown: the data folder, as messages show it.
        problems: what cannot be read or is no ordinary file is appended here, and not given.
    """
    todo = [(folder, "", 0)]
    while todo:
        place, prefix, level = todo.pop()
        try:
            with os.scandir(place) as found:
                items = list(found)
        except OSError as error:
            problems.append(_closed(f"{shown}/{prefix}".rstrip("/"), error))
            continue
        for item in items:
            if item.name.startswith(".") or item.name.casefold() in LEFT_OUT:
                continue
            path = prefix + item.name
            try:
                is_folder = item.is_dir(follow_symlinks=False)
                problem = None if is_folder else _not_a_file(folder, path, item)
            except OSError as error:
                problems.append(_closed(printable(f"{shown}/{path}"), error))
                continue
            if problem:
                what, fix = problem
                problems.append(Problem(where=printable(f"{shown}/{path}"), what=what, fix=fix))
            elif not is_folder:
                yield unicodedata.normalize("NFC", path), Path(item.path)
            elif level < MOST_LEVELS:
                todo.append((place / item.name, f"{path}/", level + 1))
            else:
                top = printable(f"{shown}/{path.partition('/')[0]}")
                what = f"holds more than {MOST_LEVELS} folders inside one another"
                problems.append(Problem(where=top, what=what, fix="move the pictures further up"))


def printable(path: str) -> str:
    """A path as a message can hold it, if its name is not UTF-8."""
    return path.encode("utf-8", "backslashreplace").decode()


def _closed(where: str, error: OSError) -> Problem:
    return Problem(
        where=printable(where),
        what=f"cannot be read: {error.strerror or error}; what is in it would be left out",
        fix="make it readable (mount a network folder again), or move it out of the data folder",
    )


def _not_a_file(folder: Path, path: str, item: os.DirEntry[str]) -> tuple[str, str] | None:
    """What is wrong with something that is no folder, and what to do; None for a file."""
    if item.is_file(follow_symlinks=False):
        return None  # told by the folder, without a look at the file
    if not item.is_symlink():
        return f"is {_kind(item.stat(follow_symlinks=False).st_mode)}, not a file", _OUT
    try:
        return _bad_link(folder, Path(item.path))
    except OSError as error:
        return _LINKS.get(
            error.errno or 0, f"is a link that cannot be followed: {error.strerror}"
        ), _THEMSELVES


def _bad_link(folder: Path, link: Path) -> tuple[str, str] | None:
    mode, target = link.stat().st_mode, link.resolve(strict=True)
    if stat.S_ISDIR(mode):
        return "is a link to a folder", _THEMSELVES
    if not stat.S_ISREG(mode):
        return f"is a link to {_kind(mode)}, not to a file", _OUT
    if not _stays(target, folder):
        return (
            f"is a link to {brief(str(target))}, out of the data folder and not into DVC's cache",
            "put the file itself there, if you know what it is; else delete the link",
        )
    return None


def _stays(target: Path, folder: Path) -> bool:
    """Whether a link leads into DVC's cache, or to what is not hidden here in the project."""
    if CACHED.search(target.as_posix()[-len("/00/") - 30 :]):
        return True
    for home in (folder.resolve(), Path.cwd().resolve()):
        if target.is_relative_to(home):
            return not any(part.startswith(".") for part in target.relative_to(home).parts)
    return False


def _kind(mode: int) -> str:
    return next((name for is_it, name in _KINDS if is_it(mode)), "something else")
