"""Saying early that params.yaml's `data` leads to no folder, and what was probably meant.

Apart from `data_folder.py`, which stages read: nothing here can move a byte.
"""

from __future__ import annotations

from pathlib import Path

from lora_recipes.errors import Problem
from lora_recipes.pipeline import PARAMS
from lora_recipes.recipe.fields import show
from lora_recipes.recipe.near import nearest
from lora_recipes.recipe.yamlfile import read


def missing_folder(root: Path) -> Problem | None:
    """What is wrong where `data` leads to no folder: said before anything runs."""
    source = read(root / PARAMS, PARAMS)
    name = source.data.get("data")
    if not isinstance(name, str) or not name or _is_folder(root / name):
        return None
    what, fix = "no such folder", "write the path of the folder that holds your images"
    given = Path(name)
    try:
        if (root / name).exists():
            what = "is a file, not a folder"
        elif name.startswith("~"):
            fix = f"write the whole path: {_home(given)}"
        elif (root / f"{name.rstrip('/')}.dvc").is_file():
            what, fix = "the images are not here yet", f"dvc pull {name.rstrip('/')}"
        elif (root / given).parent.is_dir():
            near = nearest(given.name, _folders((root / given).parent))
            fix = f"did you mean {(given.parent / near).as_posix()}?" if near else fix
    except (OSError, ValueError, RuntimeError):
        what = "no folder can have that name"
    where = source.where(("data",))
    return Problem(where=where, what=f"data = {show(name)}: {what}", fix=fix)


def _is_folder(path: Path) -> bool:
    try:
        return path.is_dir()
    except (OSError, ValueError):
        return False


def _home(path: Path) -> str:
    try:
        return path.expanduser().as_posix()
    except RuntimeError:
        return "DVC does not know ~"


def _folders(parent: Path) -> list[str]:
    """The folders in one, those too whose images DVC has not fetched."""
    found = [path.name for path in parent.iterdir() if path.is_dir()]
    return [*found, *(path.stem for path in parent.glob("*.dvc"))]
