"""Two different files with one MD5, of which DVC would keep only one.

DVC names a file by the MD5 of its bytes, and two different files with one MD5 can be made. Its
cache then holds the first, and every checkout and pull gives that one back for both.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from lora_recipes.dataset.cache import StatCache
from lora_recipes.dataset.find import DataFile, named
from lora_recipes.dataset.place import shown
from lora_recipes.errors import Problem

BLOCK = 2**20
"""Bytes of a file that are in memory at once."""


@dataclass(frozen=True)
class Hashes:
    """A file's two names: ours and DVC's."""

    sha256: str
    md5: str


def hashes_of(entries: Iterable[DataFile], cache: StatCache) -> dict[str, Hashes]:
    """Both hashes by path, from one read of each file; untouched files are not read again.

    A file that cannot be read is left out: who needs its content says so.
    """
    hashes = {}
    for entry in entries:
        try:
            before = entry.file.stat()
            known = _hashes(cache.get(entry.file, before))
            if known is None:
                known = _read(entry.file)
                cache.put(entry.file, before, asdict(known))
        except OSError:
            continue
        hashes[entry.path] = known
    return hashes


def collisions(folder: Path, hashes: Mapping[str, Hashes]) -> list[Problem]:
    """The files that share an MD5 with another one, but not its content."""
    by_md5: defaultdict[str, dict[str, str]] = defaultdict(dict)
    for path in sorted(hashes):
        by_md5[hashes[path].md5].setdefault(hashes[path].sha256, path)
    return [
        Problem(
            where=f"{shown(folder)}/{first}",
            what=f"is another file than {named(others, ' and ')}, but has the same MD5, {md5}; DVC "
            "knows files by their MD5 and would keep only one of them",
            fix="such files are made on purpose: ask where they come from; delete all but one, or "
            "save a picture anew in another quality, a caption in other words",
        )
        for md5, paths in by_md5.items()
        for first, *others in [list(paths.values())]
        if others
    ]


def _read(file: Path) -> Hashes:
    sha256, md5 = hashlib.sha256(), hashlib.md5(usedforsecurity=False)
    with file.open("rb") as content:
        while block := content.read(BLOCK):
            sha256.update(block)
            md5.update(block)
    return Hashes("sha256:" + sha256.hexdigest(), md5.hexdigest())


def _hashes(cached: Any) -> Hashes | None:
    """Hashes from the cache, or None where they are not what they should be."""
    try:
        return Hashes(**cached)
    except TypeError:
        return None
