"""How many pictures will be trained on, from names alone: for estimates before anything runs."""

from __future__ import annotations

from pathlib import Path

from lora_recipes.dataset.find import READ, UNREAD, folder_repeats, role_of
from lora_recipes.dataset.roles import TRAIN
from lora_recipes.dataset.walk import walk
from lora_recipes.recipe.sections.dataset import Dataset


def repeats_by_name(folder: Path, dataset: Dataset, role: str = TRAIN) -> dict[str, int] | None:
    """How often the folder `N_name` of each picture to train on repeats it, by its path.

    Args:
        folder: the data folder.
        dataset: the resolved section.
        role: of the pictures: the subject's, or those for regularization.

    Returns:
        None where the folder is not there (not fetched yet). No file is opened, so what the
        dataset stage would refuse, such as HEIC that is yet to be converted, is counted here.
    """
    if not folder.is_dir():
        return None
    named = {
        path: folder_repeats(path)
        for path, file in walk(folder, "", [])
        if file.suffix.lower() in READ | UNREAD and role_of(path, dataset) == role
    }
    return {path: found[0] if found else 1 for path, found in named.items()}
