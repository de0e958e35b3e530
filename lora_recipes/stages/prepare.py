"""The prepare stage: the listed pictures at the training size, in `build/images/`."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from lora_recipes.dataset.buckets import target_of
from lora_recipes.dataset.manifest import read_pictures
from lora_recipes.dataset.prepare import prepare
from lora_recipes.dataset.size_problems import told_buckets
from lora_recipes.pipeline import IMAGES, PICTURES, PRIOR
from lora_recipes.recipe.data_folder import data_folder
from lora_recipes.recipe.resolved import read_section
from lora_recipes.recipe.sections.prepare import Prepare
from lora_recipes.reporting import Reporter


def run(root: Path, report: Reporter) -> None:
    """Scale and crop every picture as the recipe's `prepare` section says.

    Raises:
        UserError: pictures are too small or of another shape, or files are not those that the
            dataset stage found.
    """
    pictures = read_pictures(root / PICTURES)
    settings = read_section(root, "prepare", Prepare)
    prepare(data_folder(root), pictures, settings, root / IMAGES, report, prior=root / PRIOR)
    if settings.buckets:
        sizes = (target_of((it.width, it.height), settings) for it in pictures)
        report.say(f"buckets: {told_buckets(Counter(sizes))}")
    report.say(f"{len(pictures)} pictures in {IMAGES}")
