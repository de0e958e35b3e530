"""PNG files whose text chunks say how each image came about: no time, no host."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path

from PIL import Image
from PIL.PngImagePlugin import PngInfo

from lora_recipes.files import write_bytes
from lora_recipes.sample.sample_images import SampleImage

COMPRESS_LEVEL = 6


@dataclass(frozen=True)
class HowGenerated:
    """What all images of a run share, for the `parameters` chunk."""

    negative_prompt: str
    steps: int
    guidance: float
    sampler: str
    size: tuple[int, int]
    model: str


def write_png(path: Path, pixels: Image.Image, image: SampleImage, how: HowGenerated) -> None:
    """Write one image, atomically; equal pixels and settings give equal bytes."""
    text = PngInfo()
    for key, value in (
        ("parameters", parameters(image, how)),
        ("prompt", image.prompt),
        ("seed", str(image.seed)),
        ("adapter", image.adapter),
        ("strength", f"{image.strength:g}"),
    ):
        text.add_text(key, value)
    buffer = io.BytesIO()
    pixels.save(buffer, "PNG", pnginfo=text, compress_level=COMPRESS_LEVEL)
    write_bytes(path, buffer.getvalue())


def parameters(image: SampleImage, how: HowGenerated) -> str:
    """The settings as A1111 and its relatives show them when an image is dropped onto them.

    Source: the "PNG Info" text of https://github.com/AUTOMATIC1111/stable-diffusion-webui.
    """
    name = "adapter" if image.adapter == "final" else image.adapter
    lora = f" <lora:{name}:{image.strength:g}>" if image.adapted else ""
    negative = [f"Negative prompt: {how.negative_prompt}"] if how.negative_prompt else []
    settings = {
        "Steps": how.steps,
        "Sampler": how.sampler,
        "CFG scale": f"{how.guidance:g}",
        "Seed": image.seed,
        "Size": "{}x{}".format(*how.size),
        "Model": how.model,
    }
    last = ", ".join(f"{key}: {value}" for key, value in settings.items())
    return "\n".join([image.prompt + lora, *negative, last])
