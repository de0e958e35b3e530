"""A throw-away project for timing training on a CPU: a small SDXL, photos, a recipe, encoded."""

from __future__ import annotations

import json
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, ImageDraw

from benchmarks import pairs
from benchmarks.machine import REPOSITORY

PHOTOS = 6
EDGE = 256
"""Pixels of a drawn photo."""

CAPTION = "a photo of zorp"
"""Words that the miniature's tokenizer knows."""


@dataclass(frozen=True)
class Settings:
    """What is the same for everybody who trains."""

    model: str
    """`miniature` or `deep`, both untrained, or `pocket`."""
    steps: int
    resolution: int = 64
    rank: int = 4
    learning_rate: float = 1e-4
    weight_decay: float = 1e-4
    photos: Path | None = None
    """A folder of square pictures; None draws some."""


def make(root: Path, chosen: Settings) -> float:
    """Fill a folder with a project and run its stages up to `encode`.

    Returns:
        The CPU seconds of those stages: what our training leaves to others beforehand.
    """
    root.mkdir()
    model_folder(root, chosen.model)
    _photos(root / "data" / "photos", chosen.photos)
    (root / "recipes").mkdir()
    (root / "recipes" / "timing.yaml").write_text(json.dumps(_recipe(chosen), indent=1), "utf-8")
    params = {
        "recipe": "timing",
        "data": "data/photos",
        "runtime": {"checkpoint_every": 10_000_000, "progress": "off"},
    }
    (root / "params.yaml").write_text(json.dumps(params, indent=1), "utf-8")
    stages = [
        run_stage(root, name) for name in ("resolve", "prior", "dataset", "prepare", "encode")
    ]
    return sum(usage.cpu for usage in stages)


def run_stage(root: Path, name: str) -> pairs.Usage:
    """One stage of the pipeline, as `dvc repro` calls it."""
    command = [sys.executable, "-m", "lora_recipes", "stage", name]
    return pairs.run(command, root, {"PYTHONPATH": str(REPOSITORY)})


def model_folder(root: Path, model: str) -> Path:
    """The base model as diffusers lays it out, below `root`."""
    folder = root / "models" / model
    if model == "pocket":
        from lora_recipes import pocket

        shutil.copytree(Path(pocket.__file__).parent / "model", folder)
    else:
        from tests.models import tiny_sdxl

        folder.parent.mkdir(parents=True)
        tiny_sdxl(folder)
    if model == "deep":
        _deepen(folder)
    return folder


def _deepen(folder: Path) -> None:
    """Give the miniature a UNet of all of SDXL's layers, a tenth as wide.

    Launching its operations takes longer than what they compute: on a CPU, the nearest thing to
    batch 1 on a large GPU.
    """
    import torch
    from diffusers import UNet2DConditionModel

    from lora_recipes.base.components import CONFIGS
    from lora_recipes.base.folder import read_json

    true, tiny = read_json(CONFIGS / "unet/config.json"), read_json(folder / "unet/config.json")
    inputs = (
        "cross_attention_dim", "projection_class_embeddings_input_dim", "addition_time_embed_dim",
        "sample_size",
    )  # fmt: skip
    narrow = {"block_out_channels": [32, 64, 128], "attention_head_dim": [1, 2, 4]}
    with torch.random.fork_rng():
        torch.manual_seed(0)
        unet = UNet2DConditionModel.from_config({**true, **narrow, **{k: tiny[k] for k in inputs}})
    shutil.rmtree(folder / "unet")
    unet.save_pretrained(folder / "unet")


def _photos(folder: Path, given: Path | None) -> None:
    folder.mkdir(parents=True)
    if given is not None:
        for path in sorted(given.iterdir()):
            if path.suffix.lower() in (".jpg", ".jpeg", ".png", ".webp"):
                shutil.copy(path, folder)
        return
    for number in range(PHOTOS):
        picture = Image.new("RGB", (EDGE, EDGE), (40 * number, 90, 200 - 30 * number))
        shape = (40 + 5 * number, 50, 200, 200 - 7 * number)
        ImageDraw.Draw(picture).ellipse(shape, fill=(255 - 20 * number, 40 * number, 80))
        picture.save(folder / f"{number}.png")


def _recipe(chosen: Settings) -> dict[str, object]:
    return {
        "schema": 1,
        "name": "timing",
        "version": 1,
        "description": "What benchmarks/cpu_training.py times.",
        "base": {"model": f"models/{chosen.model}"},
        "dataset": {"template": CAPTION},
        "prepare": {"resolution": chosen.resolution, "crop": "center"},
        "lora": {"rank": chosen.rank, "alpha": chosen.rank, "targets": "attention"},
        "train": {
            "repeats": 1,
            "epochs": "auto",
            "steps": chosen.steps,
            "batch_size": 1,
            "gradient_accumulation": 1,
            "learning_rate": chosen.learning_rate,
            "scheduler": "constant",
            "optimizer": "adamw",
            "weight_decay": chosen.weight_decay,
            "max_grad_norm": 1,
            "seed": 0,
        },
        "compute": {"device": "cpu", "precision": "fp32"},
    }
