"""What adapters leave of what the base knows: docs/photos/kept.png, from two trainings.

`python -m pocket_training.kept WITHOUT WITH` takes out/adapter.safetensors of `recipe: pocket-demo`
and of `recipe: pocket-demo-prior`. Prompts of other things, from the same noise: above as the base
draws them, then with the adapter that was trained without regularization images, then with.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from PIL import Image

from lora_recipes.base.compute import set_up
from lora_recipes.generate.generation import Generation
from lora_recipes.recipe.load import load_recipe
from lora_recipes.reporting import Quiet, Reporter
from lora_recipes.sample.sample_images import BASE, SampleImage, image_size
from lora_recipes.sample.samples import generate_samples
from pocket_training.photos import FOLDER, column, row

PROMPTS = (
    "a photo of a blue heart on a yellow background",
    "a picture of a pink ring on a black background",
    "an image of a purple diamond, orange background",
    "a photo of a red circle in a white room",
    "a black cross on a pink background",
    "a photo of a kub toy on a red background",  # an unknown toy, which is not ours
)
"""None of them is a prompt of the recipe's regularization images or a caption of the demo."""

EDGE, COLOURS = 88, 96
"""Pixels of an image on the sheet, and colours of the sheet: a third of the bytes."""


def draw(root: Path, without: Path, with_prior: Path, report: Reporter) -> Image.Image:
    """The sheet: a row for the base, and one for each of the two adapters."""
    recipe = load_recipe(root, "pocket-demo-prior").recipe
    setup = set_up(recipe.compute)
    generation = Generation(
        base=recipe.base,
        root=root,
        size=image_size(recipe.sample, recipe.prepare.resolution),
        steps=recipe.sample.steps,
        guidance=recipe.sample.guidance,
        negative_prompt=recipe.sample.negative_prompt,
        device=setup.device,
        dtype=torch.float32,
    )
    adapters = {"without": without, "with": with_prior}
    images = [
        SampleImage(number, prompt, 0, adapter, float(adapter != BASE))
        for adapter in (BASE, *adapters)
        for number, prompt in enumerate(PROMPTS)
    ]
    drawn = [
        image.resize((EDGE, EDGE), Image.Resampling.BOX)
        for _, image in generate_samples(images, generation, recipe.lora, adapters, report)
    ]
    count = len(PROMPTS)
    return column([row(drawn[start : start + count], 4) for start in range(0, len(drawn), count)])


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="kept", description=__doc__)
    parser.add_argument("without", type=Path, help="the adapter of pocket-demo")
    parser.add_argument("with_prior", type=Path, help="the adapter of pocket-demo-prior")
    given = parser.parse_args(argv)
    sheet = draw(Path.cwd(), given.without, given.with_prior, Quiet())
    few = sheet.quantize(COLOURS, dither=Image.Dither.NONE)
    few.save(FOLDER / "kept.png", optimize=True, compress_level=9)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
