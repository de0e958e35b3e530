"""PNG files whose text chunks say how each picture came about: no time, no host."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path

from PIL import Image
from PIL.PngImagePlugin import PngInfo

from lora_recipes.files import write_bytes
from lora_recipes.sample.plan import BASE, Picture

COMPRESS_LEVEL = 6


@dataclass(frozen=True)
class HowDrawn:
    """What all pictures of a run share, for the `parameters` chunk."""

    negative_prompt: str
    steps: int
    guidance: float
    sampler: str
    size: tuple[int, int]
    model: str


def write_png(path: Path, image: Image.Image, picture: Picture, how: HowDrawn) -> None:
    """Write one picture, atomically; equal pixels and settings give equal bytes."""
    text = PngInfo()
    for key, value in (
        ("parameters", parameters(picture, how)),
        ("prompt", picture.prompt),
        ("seed", str(picture.seed)),
        ("adapter", picture.adapter),
        ("strength", f"{picture.strength:g}"),
    ):
        text.add_text(key, value)
    buffer = io.BytesIO()
    image.save(buffer, "PNG", pnginfo=text, compress_level=COMPRESS_LEVEL)
    write_bytes(path, buffer.getvalue())


def parameters(picture: Picture, how: HowDrawn) -> str:
    """The settings as A1111 and its relatives show them when a picture is dropped onto them.

    Source: the "PNG Info" text of https://github.com/AUTOMATIC1111/stable-diffusion-webui.
    """
    name = "adapter" if picture.adapter == "final" else picture.adapter
    lora = "" if picture.adapter == BASE else f" <lora:{name}:{picture.strength:g}>"
    negative = [f"Negative prompt: {how.negative_prompt}"] if how.negative_prompt else []
    settings = {
        "Steps": how.steps,
        "Sampler": how.sampler,
        "CFG scale": f"{how.guidance:g}",
        "Seed": picture.seed,
        "Size": "{}x{}".format(*how.size),
        "Model": how.model,
    }
    last = ", ".join(f"{key}: {value}" for key, value in settings.items())
    return "\n".join([picture.prompt + lora, *negative, last])
