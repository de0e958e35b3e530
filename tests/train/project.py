"""A training small enough for a test: a UNet of SDXL's classes and a few encoded pictures."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

import torch
from diffusers import UNet2DConditionModel
from torch import Tensor

import lora_recipes.generate.try_sampler  # noqa: F401  (before `small_base`: it keeps what it imports)
from lora_recipes.encode.store import EncodedIndex, Example, read_index, write_file, write_index
from lora_recipes.recipe.sections.base import Base
from lora_recipes.recipe.sections.compute import Compute
from lora_recipes.recipe.sections.dataset import Dataset
from lora_recipes.recipe.sections.encode import Encode
from lora_recipes.recipe.sections.lora import Lora
from lora_recipes.recipe.sections.prepare import Prepare
from lora_recipes.recipe.sections.prior import Prior
from lora_recipes.recipe.sections.train import Train
from lora_recipes.reporting import Quiet, Reporter
from lora_recipes.tensors import read_tensors
from tests.adapter.tiny import CONTEXT, POOLED, TIME

SCHEDULE = SimpleNamespace(
    beta_start=0.00085, beta_end=0.012, num_train_timesteps=1000, beta_schedule="scaled_linear"
)
MIXED = ((8, 8), (12, 8), (8, 12))
"""Sizes of latents, as buckets give them."""

OUTPUTS = ("adapter.safetensors", "loss.tsv", "environment.json", "train.json", "snapshots")


def small_unet() -> UNet2DConditionModel:
    """SDXL's three levels with one transformer layer in the lowest: 32 modules for an adapter."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return UNet2DConditionModel(
            sample_size=8,
            block_out_channels=(8, 8, 16),
            norm_num_groups=4,
            layers_per_block=1,
            down_block_types=("DownBlock2D", "DownBlock2D", "CrossAttnDownBlock2D"),
            up_block_types=("CrossAttnUpBlock2D", "UpBlock2D", "UpBlock2D"),
            transformer_layers_per_block=1,
            attention_head_dim=2,
            cross_attention_dim=CONTEXT,
            use_linear_projection=True,
            addition_embed_type="text_time",
            addition_time_embed_dim=TIME,
            projection_class_embeddings_input_dim=6 * TIME + POOLED,
        ).eval()


def encode_pictures(
    folder: Path,
    roles: list[str],
    sizes: Sequence[tuple[int, int]] = ((8, 8),),
    prediction: str = "epsilon",
) -> None:
    """Write what the encode stage writes, with random numbers for pictures and captions.

    Args:
        sizes: of latents, (width, height), which the pictures get in turn.
    """
    stream = torch.Generator().manual_seed(3)
    images = []
    for number, role in enumerate(roles):
        width, height = sizes[number % len(sizes)]
        mean = torch.randn(4, height, width, generator=stream)
        moments = {"mean": mean, "std": torch.full_like(mean, 0.1)}
        tokens = torch.randn(77, CONTEXT, generator=stream)
        text = {"tokens": tokens, "pooled": torch.randn(POOLED, generator=stream)}
        images.append(
            Example(
                path=f"{number}.png",
                role=role,
                repeats=1,
                moments=write_file(folder, "moments", moments),
                texts=(write_file(folder, "text", text),),
                time_ids=(8 * height, 8 * width, 0, 0, 8 * height, 8 * width),
            )
        )
    empty = {
        "tokens": torch.randn(77, CONTEXT, generator=stream),
        "pooled": torch.randn(POOLED, generator=stream),
    }
    index = EncodedIndex(
        tuple(images),
        "sha256:" + "0" * 64,
        0.5,
        prediction,
        {},
        write_file(folder, "text", empty),
    )
    write_index(folder, index)


def reencode(root: Path, number: int, change: Callable[[dict[str, Tensor]], object]) -> None:
    """Change the numbers of one picture, as if the encode stage had given others.

    Args:
        root: as `make_project` leaves it.
        number: which picture.
        change: edits its `mean`, `std`, `tokens` and `pooled` in place.
    """
    folder = root / "build" / "encoded"
    index = read_index(folder)
    old = index.images[number]
    tensors = read_tensors(folder / old.moments) | read_tensors(folder / old.texts[0])
    change(tensors)
    moments = write_file(folder, "moments", {name: tensors[name] for name in ("mean", "std")})
    text = write_file(folder, "text", {name: tensors[name] for name in ("tokens", "pooled")})
    images = list(index.images)
    images[number] = replace(old, moments=moments, texts=(text,))
    write_index(folder, replace(index, images=tuple(images)))


def make_project(
    root: Path,
    train: dict[str, Any] | None = None,
    runtime: dict[str, Any] | None = None,
    compute: dict[str, Any] | None = None,
    roles: list[str] | None = None,
    *,
    lora: dict[str, Any] | None = None,
    dataset: dict[str, Any] | None = None,
    prior: dict[str, Any] | None = None,
    prepare: dict[str, Any] | None = None,
    encode: dict[str, Any] | None = None,
) -> Path:
    """A project folder as the stages before training leave it, with buckets in mixed shapes."""
    chosen = {"repeats": 3, "batch_size": 1, "gradient_accumulation": 2, "learning_rate": 1e-2}
    sections = {
        "base": Base(model="pocket"),
        "dataset": Dataset(**(dataset or {})),
        "prior": Prior(**(prior or {})),
        "prepare": Prepare(**({"resolution": 64} | (prepare or {}))),
        "encode": Encode(**(encode or {})),
        "lora": Lora(**({"rank": 2, "alpha": 2} | (lora or {}))),
        "train": Train(**(chosen | (train or {}))),
        "compute": Compute(**({"device": "cpu", "precision": "fp32"} | (compute or {}))),
    }
    plain: dict[str, Any] = {k: v.model_dump(mode="json") for k, v in sections.items()}
    plain |= {"base_identity": "sha256:" + "1" * 64, "code": {"train": "sha256:" + "2" * 64}}
    root.mkdir(parents=True, exist_ok=True)
    (root / "resolved.yaml").write_text(json.dumps(plain, indent=1), "utf-8")
    chosen_runtime = {"checkpoint_every": 2, "log_every": 1, **(runtime or {})}
    (root / "params.yaml").write_text(
        json.dumps({"recipe": "tiny", "data": "data/x", "runtime": chosen_runtime}), "utf-8"
    )
    sizes = MIXED if (prepare or {}).get("buckets") else ((8, 8),)
    encode_pictures(root / "build" / "encoded", roles or ["train"] * 4, sizes)
    _encode_looks(root / "build" / "encoded", sections["dataset"])
    return root


def _encode_looks(folder: Path, dataset: Any) -> None:
    """Write the masks and mirrored pictures that a recipe asks for; every other one has a mask."""
    index = read_index(folder)
    images = []
    for number, image in enumerate(index.images):
        more: dict[str, Any] = {}
        moments = read_tensors(folder / image.moments)
        trained = image.role == "train"
        if trained and dataset.masks != "none" and number % 2 == 0:
            rows, columns = moments["mean"].shape[-2:]
            mask = torch.linspace(0, 1, columns).repeat(1, rows, 1).round(decimals=1)
            more["mask"] = write_file(folder, "masks", {"mask": mask})
            if dataset.flip:
                more["flipped_mask"] = write_file(folder, "masks", {"mask": mask.flip(-1)})
        if trained and dataset.flip:
            mirrored = {name: tensor.flip(-1) for name, tensor in moments.items()}
            more |= {"flipped": write_file(folder, "moments", mirrored), "flipped_left": 3}
        images.append(replace(image, **more))
    write_index(folder, replace(index, images=tuple(images)))


def run_stage(root: Path, report: Reporter | None = None, unet: Any = None) -> Quiet:
    """Run the train stage on a small base instead of a real one; what it said comes back."""
    from lora_recipes.stages import train

    reporter = report or Quiet()
    with small_base(unet):
        train.run(root, reporter)
    return reporter  # type: ignore[return-value]


@contextmanager
def small_base(unet: Any = None) -> Iterator[None]:
    """Within the block, every base model is the small UNet."""

    def load_unet(base: Base, root: Path, dtype: torch.dtype, device: torch.device) -> Any:
        return torch.nn.Module.to(unet or small_unet(), device, dtype)

    scheduler = SimpleNamespace(config=SCHEDULE)
    with (
        patch("lora_recipes.base.load.load_unet", load_unet),
        patch("lora_recipes.base.load.load_scheduler", lambda base, root: scheduler),
    ):
        yield


def contents(root: Path) -> dict[str, bytes]:
    """Every output file by name."""
    out = root / "out"
    return {
        path.relative_to(out).as_posix(): path.read_bytes()
        for path in sorted(out.rglob("*"))
        if path.is_file()
    }


if __name__ == "__main__":
    torch.set_num_threads(1)
    run_stage(Path(sys.argv[1]))
