"""The data folder as messages show it, and what is wrong where there is none."""

from __future__ import annotations

from pathlib import Path

from lora_recipes.errors import Problem, Wording


def shown(path: Path) -> str:
    """A path as the user would write it: relative where it lies below the current folder."""
    here = Path.cwd()
    return str(path.relative_to(here) if path.is_relative_to(here) else path)


def folder_problems(folder: Path) -> list[Problem]:
    """What is wrong where there is no data folder."""
    if not folder.is_dir():
        pointer = folder.with_name(folder.name + ".dvc")
        if home := with_home(folder):
            what = "~ is not known as your home here, nor by DVC"
            return [Problem(where=shown(folder), what=what, fix=home)]
        fix = (
            f"fetch it: `dvc pull {shown(pointer)}` (or `dvc checkout {shown(pointer)}` where the "
            "cache has it)"
            if pointer.exists()
            else "put your pictures there, or name their folder as `data:` in params.yaml"
        )
        what = "there is no such folder" if not folder.exists() else "is a file, not a folder"
        return [Problem(where=shown(folder), what=what, fix=fix)]
    return []


def with_home(folder: Path) -> Wording:
    """What to write for a folder below `~`, which neither DVC nor any stage replaces; or empty."""
    parts = (
        folder.relative_to(Path.cwd()).parts if folder.is_relative_to(Path.cwd()) else folder.parts
    )
    if not parts or not parts[0].startswith("~"):
        return ""
    try:
        whole = f": `data: {Path(*parts).expanduser()}`"
    except RuntimeError:  # nobody of that name
        whole = ""
    return f"write the whole path{whole}"
