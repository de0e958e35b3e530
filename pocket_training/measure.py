"""Measures the pocket: how well its VAE repeats pictures and its UNet follows prompts."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from diffusers import StableDiffusionXLPipeline
from PIL import Image

from pocket_training import judge, pictures, world
from pocket_training.evaluate import EVALUATION_PROMPTS
from pocket_training.train_vae import to_pixels

STEPS, GUIDANCE = 20, 1.5
"""Euler steps and guidance scale that suit the pocket; chosen on tuning prompts and the demo."""
PROMPTS, RECONSTRUCTIONS = 288, 200
CARD_SEED, TUNING_SEED = 2, 1
TEMPLATES = (
    "a photo of {thing} on {ground} background",
    "a picture of {thing} on {ground} background",
    "an image of {thing} on {ground} background",
    "{thing} on {ground} background",
    "a photo of {thing} in {ground} room",
    "{thing} in front of {ground} wall",
)

Wish = tuple[str, str, str, str]
"""A prompt and the object colour, shape and background colour that it asks for."""


def wishes(count: int, seed: int) -> list[Wish]:
    """Prompts that name a colour, a shape and another background colour, all equally often."""
    rng = random.Random(f"pocket wishes {seed}")
    made: list[Wish] = []
    while len(made) < count:
        above, below = rng.sample(sorted(world.COLOURS), 2)
        shape = world.SHAPES[len(made) % len(world.SHAPES)]
        thing, ground = _with_article(f"{above} {shape}"), _with_article(below)
        prompt = rng.choice(TEMPLATES).format(thing=thing, ground=ground)
        made.append((prompt, above, shape, below))
    return made


def _with_article(words: str) -> str:
    return f"{'an' if words[0] in 'aeiou' else 'a'} {words}"


def load(model: Path) -> StableDiffusionXLPipeline:
    """The folder as a pipeline in float32."""
    pipeline = StableDiffusionXLPipeline.from_pretrained(model)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def sample(
    pipeline: StableDiffusionXLPipeline,
    prompts: Sequence[str],
    *,
    steps: int = STEPS,
    guidance: float = GUIDANCE,
    seed: int = 0,
    batch: int = 16,
) -> list[Image.Image]:
    """One picture per prompt; picture i starts from noise number seed + i."""
    made: list[Image.Image] = []
    for start in range(0, len(prompts), batch):
        part = list(prompts[start : start + batch])
        made += pipeline(
            prompt=part,
            num_inference_steps=steps,
            guidance_scale=guidance,
            height=128,
            width=128,
            generator=[torch.Generator().manual_seed(seed + start + i) for i in range(len(part))],
        ).images
    return made


def agreement(images: Sequence[Image.Image], asked: Sequence[Wish]) -> dict[str, float]:
    """Shares of pictures in which the judge sees what was asked for."""
    rows = []
    for image, (_, colour, shape, ground) in zip(images, asked, strict=True):
        seen = judge.object_colour(image), judge.object_shape(image), judge.background_colour(image)
        hits = [a == b for a, b in zip(seen, (colour, shape, ground), strict=True)]
        rows.append([*hits, all(hits)])
    names = ("object_colour", "shape", "background_colour", "all_three")
    return dict(zip(names, (round(float(s), 4) for s in np.mean(rows, axis=0)), strict=True))


@torch.no_grad()
def reconstruction(pipeline: StableDiffusionXLPipeline, count: int) -> dict[str, float]:
    """PSNR in decibels and mean absolute error in 8-bit steps, on pictures never trained on."""
    errors = []
    for seed in range(pictures.HELD_OUT, pictures.HELD_OUT + count):
        x = to_pixels(np.asarray(world.draw(seed)[0])[None])
        y = pipeline.vae.decode(pipeline.vae.encode(x).latent_dist.mode()).sample.clamp(-1, 1)
        errors.append((y - x).numpy() * 127.5)
    squared = np.square(errors).mean(axis=(1, 2, 3, 4))
    return {
        "psnr_db": round(float((10 * np.log10(255**2 / squared)).mean()), 2),
        "mean_absolute_error": round(float(np.abs(errors).mean()), 2),
        "pictures": count,
    }


def measure(pipeline: StableDiffusionXLPipeline) -> dict[str, object]:
    """All figures of the card."""
    asked = wishes(PROMPTS, CARD_SEED)
    images = sample(pipeline, [wish[0] for wish in asked], seed=10_000)
    unknown = sample(pipeline, [prompt for prompt, _ in EVALUATION_PROMPTS], seed=20_000)
    grounds = [ground for _, ground in EVALUATION_PROMPTS]
    obeyed = [judge.background_colour(i) == g for i, g in zip(unknown, grounds, strict=True)]
    return {
        "sampling": {"scheduler": "euler", "steps": STEPS, "guidance_scale": GUIDANCE},
        "prompts": len(asked),
        "as_asked": agreement(images, asked),
        "vae": reconstruction(pipeline, RECONSTRUCTIONS),
        "unknown_word": {
            "prompts": len(unknown),
            "finds_demo_subject": round(
                float(np.mean([judge.finds_subject(i) for i in unknown])), 4
            ),
            "background_colour": round(float(np.mean(obeyed)), 4),
        },
        "scaling_factor": pipeline.vae.config.scaling_factor,
        "weights": {
            name: sum(p.numel() for p in getattr(pipeline, name).parameters())
            for name in ("unet", "vae", "text_encoder", "text_encoder_2")
        },
    }


def write(model: Path) -> None:
    """Measures the model and writes `card.json`; the README beside it is written by hand.

    How the weights were made (`training`) was written by hand and stays as it is.
    """
    file = model / "card.json"
    made = json.loads(file.read_text("utf-8"))["training"]
    figures = json.dumps({"training": made, **measure(load(model))}, indent=2)
    file.write_text(figures + "\n", "utf-8")
    print(figures)
