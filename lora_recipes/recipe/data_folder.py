"""Where the images lie: the one folder that params.yaml names."""

from __future__ import annotations

from pathlib import Path

from lora_recipes.errors import UserError
from lora_recipes.pipeline import PARAMS
from lora_recipes.recipe.yamlfile import read


def data_folder(root: Path) -> Path:
    """The folder with the images, from params.yaml's `data`. Whether it exists is not asked.

    Raises:
        UserError: params.yaml is missing or names no folder.
    """
    source = read(root / PARAMS, PARAMS)
    folder = source.data.get("data")
    if not isinstance(folder, str) or not folder:
        raise UserError.of(
            where=source.where(("data",)),
            what=f"data = {folder}" if "data" in source.data else "data is missing",
            allowed="the path of the folder with the images",
            fix="write `data: data/demo`, or the folder that holds your images",
        )
    return root / folder
