"""The dataset stage: the data folder's manifest, held against the pin."""

from __future__ import annotations

from pathlib import Path

from lora_recipes.dataset.generated import read_generated, with_generated
from lora_recipes.dataset.manifest import write, write_pictures
from lora_recipes.dataset.pin import check_pin, look
from lora_recipes.pipeline import MANIFEST, PICTURES, PRIOR
from lora_recipes.recipe.data_folder import data_folder
from lora_recipes.recipe.resolved import read_section
from lora_recipes.recipe.sections.dataset import Dataset
from lora_recipes.reporting import Reporter


def run(root: Path, report: Reporter) -> None:
    """Write the manifest and the list of pictures, unless the data differ from the pin.

    Pictures that the prior stage generated are listed with those of the data folder.

    Raises:
        UserError: the data cannot be read as they are, or differ from the pin; files are named.
    """
    section = read_section(root, "dataset", Dataset)
    manifest = look(root, section, report)
    check_pin(root, data_folder(root), manifest, section.manifest, report)
    manifest = with_generated(manifest, read_generated(root / PRIOR), data_folder(root))
    write(root / MANIFEST, manifest)
    write_pictures(root / PICTURES, manifest)
