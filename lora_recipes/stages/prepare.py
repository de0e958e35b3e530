"""The prepare stage: the manifest's pictures at the training size, in `build/images/`."""

from __future__ import annotations

from pathlib import Path

from lora_recipes.dataset.manifest import read
from lora_recipes.dataset.prepare import prepare
from lora_recipes.recipe.params import data_folder
from lora_recipes.recipe.resolved import read_section
from lora_recipes.recipe.sections.prepare import Prepare
from lora_recipes.reporting import Reporter


def run(root: Path, report: Reporter) -> None:
    """Scale and crop every picture as the recipe's `prepare` section says.

    Raises:
        UserError: pictures are too small or of another shape, or files changed since the manifest.
    """
    manifest = read(root / "build" / "manifest.json")
    settings = read_section(root, "prepare", Prepare)
    out = root / "build" / "images"
    prepare(data_folder(root), manifest, settings, out, report)
    report.say(f"{len(manifest.images)} pictures in build/images")
