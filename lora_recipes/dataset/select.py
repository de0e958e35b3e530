"""How many pictures will be trained on, from names alone: for estimates before anything runs."""

from __future__ import annotations

from pathlib import Path

from lora_recipes.dataset.find import READ, folder_repeats, role_of, walk
from lora_recipes.recipe.params import data_folder
from lora_recipes.recipe.sections.dataset import Dataset


def count_train_images(root: Path, dataset: Dataset | None = None) -> int | None:
    """Pictures to train on in the project's data folder, each times its folder's `N_name` repeats.

    Args:
        root: the folder of params.yaml.
        dataset: the resolved section, where it is at hand; else params.yaml is resolved for it.

    Returns:
        None where the folder is not there (not fetched yet). No file is opened, so what the
        dataset stage would refuse is counted here.
    """
    if dataset is None:
        from lora_recipes.recipe.load import resolve

        dataset = resolve(root).recipe.dataset
    return count_images(data_folder(root), dataset)


def count_images(folder: Path, dataset: Dataset) -> int | None:
    """The same for a folder and a section that are at hand."""
    if not folder.is_dir():
        return None
    total = 0
    for path, file in walk(folder):
        if file.suffix.lower() in READ and role_of(path, dataset) == "train":
            named = folder_repeats(path)
            total += named[0] if named else 1
    return total
