"""DVC's cache, read only: every object's bytes are checked against the hash that names them.

DVC takes a read-only object for sound and checks it out unseen, and deletes from the cache what it
finds damaged, in a mere `dvc status`. Verifying may do neither, so DVC never gets to see the user's
cache, and this reads it: `files/md5/<2>/<30>`; a
folder's object ends in `.dir` and lists its files as JSON.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

BLOCK = 2**20


@dataclass
class Faults:
    """What is wrong with the objects that were looked at."""

    missing: list[str] = field(default_factory=list)
    """Paths in the project whose bytes the cache does not hold."""

    damaged: dict[str, Path] = field(default_factory=dict)
    """The object of each path whose bytes are others than its name says."""

    def __bool__(self) -> bool:
        return bool(self.missing or self.damaged)


class Objects:
    """The objects of one or several DVC caches, the first that has one being asked for it."""

    def __init__(self, *caches: Path) -> None:
        self._caches = caches

    def path(self, md5: str) -> Path:
        """Where an object lies; if it is nowhere, where it would."""
        places = [cache / "files" / "md5" / md5[:2] / md5[2:] for cache in self._caches]
        return next((place for place in places if place.is_file()), places[-1])

    def look(self, path: str, md5: str) -> Faults:
        """Read all objects of an output, and say what is missing or damaged."""
        faults = Faults()
        for name, member in self._members(path, md5, faults).items():
            self._read(name, member, faults, lambda _: None)
        return faults

    def place(self, path: str, md5: str, root: Path) -> Faults:
        """Copy an output out of the cache into a folder; what is not sound is in the answer."""
        faults = Faults()
        if md5.endswith(".dir"):
            (root / path).mkdir(parents=True, exist_ok=True)
        for name, member in self._members(path, md5, faults).items():
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            with (root / name).open("wb") as file:
                self._read(name, member, faults, file.write)
        return faults

    def listing(self, md5: str) -> dict[str, str] | None:
        """md5 by relative path of a folder's files; None if the cache has no sound listing."""
        faults = Faults()
        found = self._members("", md5, faults)
        return None if faults else {name.removeprefix("/"): m for name, m in found.items()}

    def _members(self, path: str, md5: str, faults: Faults) -> dict[str, str]:
        """The files of an output with their hashes: itself, or what its listing names."""
        if not md5.endswith(".dir"):
            return {path: md5}
        blocks: list[bytes] = []
        if not self._read(path, md5, faults, blocks.append):
            return {}
        try:
            listed = json.loads(b"".join(blocks))
            return {f"{path}/{entry['relpath']}": str(entry["md5"]) for entry in listed}
        except (ValueError, KeyError, TypeError, RecursionError):
            faults.damaged[path] = self.path(md5)
            return {}

    def _read(self, name: str, md5: str, faults: Faults, use: Callable[[bytes], object]) -> bool:
        """Pass an object's bytes on, block by block; whether they are what its name says."""
        source = self.path(md5)
        if not source.is_file():
            faults.missing.append(name)
            return False
        found = hashlib.md5(usedforsecurity=False)
        with source.open("rb") as file:
            while block := file.read(BLOCK):
                found.update(block)
                use(block)
        if found.hexdigest() != md5.removesuffix(".dir"):
            faults.damaged[name] = source
            return False
        return True


def file_md5(file: Path) -> str:
    """The hash by which DVC knows a file."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


def folder_listing(folder: Path) -> dict[str, str]:
    """md5 by relative path of the files below a folder."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {file.relative_to(folder).as_posix(): file_md5(file) for file in files}
