"""The sample stage: the adapter's pictures beside the base's, into `out/samples/`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lora_recipes.errors import Problem, UserError
from lora_recipes.files import fresh_folder
from lora_recipes.imports import large_libraries
from lora_recipes.pipeline import ADAPTER, SAMPLES, SNAPSHOTS
from lora_recipes.recipe.identity import restored
from lora_recipes.recipe.resolved import read_section
from lora_recipes.recipe.sections.base import Base
from lora_recipes.recipe.sections.compute import Compute
from lora_recipes.recipe.sections.dataset import Dataset
from lora_recipes.recipe.sections.lora import Lora
from lora_recipes.recipe.sections.prepare import Prepare
from lora_recipes.recipe.sections.sample import Sample
from lora_recipes.recipe.words import fill
from lora_recipes.reporting import Reporter
from lora_recipes.sample import plan
from lora_recipes.sample.folder import write_index
from lora_recipes.tensors import read_header

if TYPE_CHECKING:
    from lora_recipes.sample.draw import Studio


def run(root: Path, report: Reporter) -> None:
    """Draw the recipe's prompts with its seeds, without and with the adapter and its snapshots.

    Raises:
        UserError: the adapter is missing, damaged or made for another base, or a picture is not
            finite. `out/samples/` then stays as it was.
    """
    sample = read_section(root, "sample", Sample)
    header = read_header(root / ADAPTER).metadata
    dataset = restored(Dataset, _section(header, "dataset"))
    prepare = restored(Prepare, _section(header, "prepare"))
    lora = restored(Lora, _section(header, "lora"))

    snapshots = sorted((root / SNAPSHOTS).glob("step-*.safetensors"))
    adapters = {path.stem: path for path in snapshots} | {plan.FINAL: root / ADAPTER}
    prompts = [fill(text, dataset.trigger, dataset.class_word) for text in sample.prompts]
    pictures = plan.pictures(sample, prompts, [path.stem for path in snapshots])

    with fresh_folder(root / SAMPLES) as folder:
        if pictures:
            studio = _studio(root, lora, adapters, plan.picture_size(sample, prepare.resolution))
            _draw(folder, pictures, studio, report)
        write_index(folder, pictures)
    report.say(f"{len(pictures)} pictures in {SAMPLES}")


def _studio(root: Path, lora: Lora, adapters: Mapping[str, Path], size: tuple[int, int]) -> Studio:
    with large_libraries():
        from lora_recipes.base.compute import set_up
        from lora_recipes.sample.draw import Studio

    setup = set_up(read_section(root, "compute", Compute))
    return Studio(
        base=read_section(root, "base", Base),
        root=root,
        sample=read_section(root, "sample", Sample),
        size=size,
        device=setup.device,
        dtype=setup.dtype,
        lora=lora,
        adapters=adapters,
    )


def _draw(folder: Path, pictures: list[plan.Picture], studio: Studio, report: Reporter) -> None:
    from lora_recipes.sample.draw import draw
    from lora_recipes.sample.model_facts import sampler
    from lora_recipes.sample.png import HowDrawn, write_png

    how = HowDrawn(
        negative_prompt=studio.sample.negative_prompt,
        steps=studio.sample.steps,
        guidance=studio.sample.guidance,
        sampler=sampler(studio.base, studio.root),
        size=studio.size,
        model=studio.base.model,
    )
    for picture, image in draw(pictures, studio, report):
        write_png(folder / picture.file, image, picture, how)


def _section(header: Mapping[str, str], name: str) -> dict[str, Any]:
    try:
        section: dict[str, Any] = json.loads(header[f"lora_recipes.{name}"])
    except (KeyError, ValueError) as error:
        raise UserError(
            Problem(
                where=ADAPTER,
                what=f"its header does not hold the recipe's {name} section",
                fix="run `dvc repro train`, which writes it",
            )
        ) from error
    return section
