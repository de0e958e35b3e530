"""Installed packages against requirements.lock: said at run time, since drift starts there."""

from __future__ import annotations

import re
from importlib import metadata
from pathlib import Path

PINNED = re.compile(r"^([A-Za-z0-9._-]+)==([^\s;#]+)")


def locked(lock: Path) -> dict[str, str]:
    """Package name (normalised) → version of a requirements file."""
    lines = lock.read_text("utf-8").splitlines()
    found = (PINNED.match(line) for line in lines)
    return {_normal(match[1]): match[2] for match in found if match}


def differing(lock: Path) -> list[str]:
    """`name: installed X, locked Y` of each locked package that is installed otherwise.

    A local build tag (`2.13.0+cpu`) is the same version: which build it is stands in the record.
    """
    out = []
    for name, version in sorted(locked(lock).items()):
        try:
            installed = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
        if installed.partition("+")[0] != version.partition("+")[0]:
            out.append(f"{name}: installed {installed}, locked {version}")
    return out


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
