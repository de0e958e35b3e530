"""The data folder as messages show it, and what is wrong where there is none."""

from __future__ import annotations

from pathlib import Path

from lora_recipes.errors import Problem


def shown(path: Path) -> str:
    """A path as the user would write it: relative where it lies below the current folder."""
    here = Path.cwd()
    return str(path.relative_to(here) if path.is_relative_to(here) else path)


def folder_problems(folder: Path) -> list[Problem]:
    """What is wrong where there is no data folder; `missing_folder` knows what was meant."""
    if folder.is_dir():
        return []
    what = "there is no such folder" if not folder.exists() else "is a file, not a folder"
    fix = "put your pictures there, or name their folder as `data:` in params.yaml"
    return [Problem(where=shown(folder), what=what, fix=fix)]
