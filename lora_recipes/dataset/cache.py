"""What was learned about a file, kept as long as the file has certainly not been touched."""

from __future__ import annotations

import json
import os
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from lora_recipes.errors import UserError
from lora_recipes.files import read_bytes, write_text

SETTLED_NS = 2_000_000_000
"""A file changed within the last 2 s is not remembered: its time might not move if it changes
again (file systems have ticks of up to 2 s)."""


class StatCache:
    """Facts by file, valid while size, times and inode are what they were before reading it.

    The change time (ctime) is in it, which no program can set back. Anything wrong with the cache
    makes it empty: it saves time and decides nothing.
    """

    def __init__(self, path: Path, version: str) -> None:
        """Read the cache file, if there is one of this version."""
        self.path, self.version = path, version
        self.old = self._read()
        self.new: dict[str, Any] = {}

    def get(self, file: Path, stat: os.stat_result) -> Any | None:
        """What is known of a file that looks untouched, or None."""
        entry = self.old.get(str(file))
        if not isinstance(entry, list) or entry[:-1] != _key(stat):
            return None
        self.new[str(file)] = entry
        return entry[-1]

    def put(self, file: Path, before: os.stat_result, fact: Any) -> None:
        """Keep a fact, unless the file changed while it was read or shortly before.

        Args:
            before: the file's stat before it was read.
            fact: JSON.
        """
        age = time.time_ns() - max(before.st_mtime_ns, before.st_ctime_ns)
        try:
            untouched = _key(file.stat()) == _key(before)
        except OSError:  # gone meanwhile
            untouched = False
        if age >= SETTLED_NS and untouched:
            self.new[str(file)] = [*_key(before), fact]

    def save(self) -> None:
        """Write what is new; facts about files that were not asked for are dropped."""
        if self.new != self.old:
            content = {"version": self.version, "files": self.new}
            with suppress(UserError):  # it cannot be written: only slower
                write_text(self.path, json.dumps(content, separators=(",", ":")) + "\n")

    def _read(self) -> dict[str, Any]:
        try:
            content = json.loads(read_bytes(self.path))
            if content["version"] == self.version and isinstance(content["files"], dict):
                return dict(content["files"])
        except (OSError, ValueError, KeyError, TypeError, RecursionError):
            pass
        return {}


def _key(stat: os.stat_result) -> list[int]:
    return [stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino, stat.st_dev]
