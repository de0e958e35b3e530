"""Installed packages against requirements.lock: said at run time, since drift starts there."""

from __future__ import annotations

import re
from importlib import metadata
from pathlib import Path

from lora_recipes.errors import UserError
from lora_recipes.files import read_bytes
from lora_recipes.pipeline import packages

LIBRARIES = tuple(sorted({*packages(), "accelerate", "safetensors"}))
"""The libraries whose version can move an output's bytes."""

PINNED = re.compile(r"^([A-Za-z0-9._-]+)==([^\s;#]+)")


def locked(lock: Path) -> dict[str, str]:
    """Package name (normalised) → version of a requirements file.

    Raises:
        UserError: it cannot be read.
    """
    try:
        lines = read_bytes(lock).decode("utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError.of(
            where=lock.name,
            what="cannot be read as text in UTF-8",
            fix=f"`git checkout {lock.name}` brings the committed one back",
        ) from error
    found = (PINNED.match(line) for line in lines)
    return {_normal(match[1]): match[2] for match in found if match}


def differing(lock: Path) -> list[str]:
    """`name: installed X, locked Y` of each library that outputs go through, where they differ.

    A local build tag (`2.13.0+cpu`) is the same version: which build it is stands in the record.
    """
    out = []
    versions = locked(lock)
    for name in LIBRARIES:
        version = versions.get(name, "nothing")
        try:
            installed = metadata.version(name)
        except metadata.PackageNotFoundError:
            installed = "nothing"
        if installed.partition("+")[0] != version.partition("+")[0]:
            out.append(f"{name}: installed {installed}, locked {version}")
    return out


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
