"""The sample stage: the adapter's images beside the base's, into `out/samples/`."""

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
from lora_recipes.recipe.sections.encode import Encode
from lora_recipes.recipe.sections.lora import Lora
from lora_recipes.recipe.sections.prepare import Prepare
from lora_recipes.recipe.sections.sample import Sample
from lora_recipes.recipe.words import fill
from lora_recipes.reporting import Reporter
from lora_recipes.sample.index import write_index
from lora_recipes.sample.sample_images import FINAL, SampleImage, image_size, sample_images
from lora_recipes.tensors import read_header

if TYPE_CHECKING:
    from lora_recipes.generate.generation import Generation


def run(root: Path, report: Reporter) -> None:
    """Generate the recipe's prompts with its seeds, without and with the adapter and its snapshots.

    Raises:
        UserError: the adapter is missing, damaged or made for another base, or an image is not
            finite. `out/samples/` then stays as it was.
    """
    sample = read_section(root, "sample", Sample)
    header = read_header(root / ADAPTER).metadata
    dataset = restored(Dataset, _section(header, "dataset"))
    prepare = restored(Prepare, _section(header, "prepare"))
    lora = restored(Lora, _section(header, "lora"))
    encode = restored(Encode, _section(header, "encode"))

    snapshots = sorted((root / SNAPSHOTS).glob("step-*.safetensors"))
    adapters = {path.stem: path for path in snapshots} | {FINAL: root / ADAPTER}
    prompts = [fill(text, dataset.trigger, dataset.class_word) for text in sample.prompts]
    images = sample_images(sample, prompts, [path.stem for path in snapshots])

    with fresh_folder(root / SAMPLES) as folder:
        if images:
            size = image_size(sample, prepare.resolution)
            generation = _generation(root, sample, size, encode.max_tokens, report)
            _generate(folder, images, generation, lora, adapters, report)
        write_index(folder, images)
    report.say(f"{len(images)} images in {SAMPLES}")


def _generation(
    root: Path, sample: Sample, size: tuple[int, int], max_tokens: int, report: Reporter
) -> Generation:
    with report.loading("torch and diffusers"), large_libraries():
        from lora_recipes.base.compute import set_up
        from lora_recipes.generate.generation import Generation
        from lora_recipes.generate.try_sampler import try_sampler

    base = read_section(root, "base", Base)
    try_sampler(base, root, sample.steps)
    setup = set_up(read_section(root, "compute", Compute))
    return Generation(
        base=base,
        root=root,
        size=size,
        steps=sample.steps,
        guidance=sample.guidance,
        negative_prompt=sample.negative_prompt,
        device=setup.device,
        dtype=setup.dtype,
        max_tokens=max_tokens,
    )


def _generate(  # noqa: PLR0917
    folder: Path,
    images: list[SampleImage],
    generation: Generation,
    lora: Lora,
    adapters: Mapping[str, Path],
    report: Reporter,
) -> None:
    from lora_recipes.generate.base_config import sampler
    from lora_recipes.sample.png_text import HowGenerated, write_png
    from lora_recipes.sample.samples import generate_samples

    how = HowGenerated(
        negative_prompt=generation.negative_prompt,
        steps=generation.steps,
        guidance=generation.guidance,
        sampler=sampler(generation.base, generation.root),
        size=generation.size,
        model=generation.base.model,
    )
    for image, pixels in generate_samples(images, generation, lora, adapters, report):
        write_png(folder / image.file, pixels, image, how)


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
