"""Which folder is meant, and what the project says of its pictures. No torch."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from lora_recipes.errors import UserError
from lora_recipes.pipeline import PARAMS
from lora_recipes.recipe.data_folder import data_folder
from lora_recipes.recipe.load import resolve
from lora_recipes.recipe.missing_folder import missing_folder
from lora_recipes.recipe.sections.dataset import Dataset


@dataclass(frozen=True)
class Target:
    """The pictures that are to be captioned."""

    folder: Path
    """The data folder."""

    dataset: Dataset
    """Its section: trigger and roles."""

    below: str = ""
    """Only pictures in this sub-folder; empty for all."""

    is_data: bool = False
    """Whether params.yaml names the folder: then its captions are in the pin."""


def target_of(root: Path, given: str | None) -> Target:
    """The data folder that params.yaml names, a part of it, or a folder that no recipe knows.

    Of the last the project's trigger and roles are not taken: they belong to other pictures.

    Args:
        root: the project's folder.
        given: the folder, as the user wrote it; None for the data folder.

    Raises:
        UserError: no folder is given and params.yaml names none that is there, or the recipe is
            not valid.
    """
    if given is not None:
        folder = root / Path(given).expanduser()
        data = data_folder(root) if (root / PARAMS).is_file() else None
        if data is None or not folder.resolve().is_relative_to(data.resolve()):
            return Target(folder, Dataset())
        inside = folder.resolve().relative_to(data.resolve()).as_posix()
        below = "" if inside == "." else inside
        return Target(data, resolve(root).recipe.dataset, below, is_data=True)
    dataset = resolve(root).recipe.dataset
    if problem := missing_folder(root):
        raise UserError(problem)
    return Target(data_folder(root), dataset, is_data=True)
