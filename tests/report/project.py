"""A finished project with made-up results: every file that the page is made from."""

from __future__ import annotations

import copy
import json
import math
import random
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw
from ruamel.yaml import YAML

from lora_recipes.hashing import canonical_json, sha256_bytes
from lora_recipes.tensors import header_bytes

RESOLVED: dict[str, Any] = {
    "schema": 1,
    "name": "pocket-demo",
    "version": 2,
    "description": "A toy that the base model has never seen, learned from eight pictures.",
    "base": {
        "model": "stabilityai/stable-diffusion-xl-base-1.0",
        "revision": "462165984030d82259a11f4367a4eed129e94a7b",
    },
    "dataset": {"manifest": "unpinned", "trigger": "zwk", "class_word": "toy"},
    "prepare": {"resolution": 1024, "crop": "none"},
    "encode": {"vae_precision": "fp32"},
    "lora": {"rank": 16, "alpha": 8.0, "targets": "attention"},
    "train": {
        "repeats": 80,
        "learning_rate": 1e-4,
        "scheduler": "cosine",
        "optimizer": "adafactor",
        "adafactor": {"eps": [1e-30, 1e-3], "beta1": "none"},
        "snapshots": [0.25, 0.5],
    },
    "sample": {
        "prompts": ["a photo of a {trigger} {class_word}", "a {trigger} {class_word} in the snow"],
        "seeds": [0, 1],
        "steps": 25,
        "guidance": 5.0,
        "strength": 0.8,
    },
    "compute": {"device": "auto", "precision": "bf16", "threads": 1},
    "data": "data/clock",
    "base_identity": "sha256:" + "b" * 64,
    "overridden": {"train.learning_rate": 0.0002, "sample.seeds": [0]},
    "packages": {"torch": "2.13.0"},
    "code": {"train": "sha256:" + "c" * 64},
}


@dataclass
class Made:
    """What to write; tests change what they are about."""

    resolved: dict[str, Any] = field(default_factory=lambda: copy.deepcopy(RESOLVED))
    steps: int = 40
    snapshots: tuple[int, ...] = (10, 20)
    prompts: tuple[str, ...] = ("a photo of a zwk toy", "a zwk toy in the snow")
    captions: dict[str, tuple[str, str]] = field(
        default_factory=lambda: {
            "01.png": ("train", "a photo of a zwk toy on a red cloth"),
            "02.png": ("train", "a zwk toy by the sea"),
            "test/03.png": ("heldout", "a zwk toy in a wood"),
            "rest/04.png": ("control", "a blue star"),
        }
    )
    variants: dict[str, list[str]] = field(default_factory=dict)
    """What the recipe makes of a picture's caption, by its path."""

    losses: dict[str, dict[str, float]] = field(
        default_factory=lambda: {
            "heldout": {"base": 0.2, "adapter": 0.15},
            "control": {"base": 0.1, "adapter": 0.1005},
        }
    )
    snapshot_losses: dict[str, dict[str, float]] = field(default_factory=dict)
    """By snapshot and role, as the training measures them."""

    environment: dict[str, Any] = field(
        default_factory=lambda: {
            "device": "Some CPU",
            "threads": 1,
            "packages": {"torch": "2.13.0"},
        }
    )
    losses_of_steps: list[float] = field(default_factory=list)
    """In place of a curve that falls."""

    picture_side: int = 24

    def write(self, root: Path) -> Path:
        """Write the project into a folder."""
        root.mkdir(parents=True, exist_ok=True)
        with (root / "resolved.yaml").open("w", encoding="utf-8") as file:
            YAML().dump(self.resolved, file)
        self._adapter(root / "out" / "adapter.safetensors")
        for step in self.snapshots:
            self._adapter(root / "out" / "snapshots" / f"step-{step:06}.safetensors")
        self._training(root / "out")
        self._dataset(root / "build")
        self._samples(root / "out" / "samples")
        return root

    def _adapter(self, path: Path) -> None:
        sections = ("base", "dataset", "prepare", "encode", "lora", "train", "compute")
        metadata = {f"lora_recipes.{n}": canonical_json(self.resolved[n]) for n in sections}
        metadata["lora_recipes.hash"] = "sha256:" + "d" * 64
        entry = {"dtype": "F32", "shape": [4], "data_offsets": [0, 16]}
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(header_bytes({"__metadata__": metadata, "x.alpha": entry}) + bytes(16))

    def _training(self, out: Path) -> None:
        chance = random.Random(0)
        rows = ["step\tepoch\tloss\tlearning_rate"]
        losses = []
        for step in range(1, self.steps + 1):
            part = step / self.steps
            loss = 0.0
            if self.losses_of_steps:
                loss = self.losses_of_steps[step - 1]
            loss = loss or (0.09 + 0.1 * math.exp(-4 * part)) * chance.lognormvariate(0, 0.5)
            rate = 1e-4 * 0.5 * (1 + math.cos(math.pi * (part - 1 / self.steps)))
            losses.append(loss)
            rows.append(f"{step}\t1\t{loss!r}\t{rate!r}")
        (out / "loss.tsv").write_text("\n".join(rows) + "\n", "utf-8")
        part = max(1, len(losses) // 10)
        figures = {
            "steps": self.steps,
            "loss_first": sum(losses[:part]) / part,
            "loss_last": sum(losses[-part:]) / part,
            **{f"{role}_loss": loss["adapter"] for role, loss in self.losses.items()},
            **{f"{role}_loss_base": loss["base"] for role, loss in self.losses.items()},
        }
        _json(out / "train.json", figures)
        _json(
            out / "environment.json",
            {"adapter_sha256": "sha256:0", "environment": self.environment},
        )
        if self.snapshot_losses:
            _json(out / "snapshots" / "losses.json", self.snapshot_losses)

    def _dataset(self, build: Path) -> None:
        images, prepared = [], []
        for number, (path, (role, caption)) in enumerate(self.captions.items()):
            file = f"{path}.png"
            data = _draw(build / "images" / file, number, self.picture_side)
            images.append(
                {
                    "path": path, "role": role, "sha256": sha256_bytes(data), "width": 900,
                    "height": 900, "format": "PNG", "caption": caption, "caption_from": "file",
                    "repeats": 1,
                    **({"variants": self.variants[path]} if path in self.variants else {}),
                }
            )  # fmt: skip
            prepared.append(
                {
                    "path": path, "file": file, "pixels": sha256_bytes(data),
                    "original_size": [900, 900], "crop": [0, 0], "size": [24, 24],
                }
            )  # fmt: skip
        _json(build / "manifest.json", {"schema": 1, "hash": "sha256:" + "a" * 64,
                                        "images": images})  # fmt: skip
        _json(build / "images" / "index.json", {"images": prepared})

    def _samples(self, folder: Path) -> None:
        pictures = []
        for row, prompt in enumerate(self.prompts):
            for seed in self.resolved["sample"]["seeds"]:
                along = [f"step-{step:06}" for step in self.snapshots] if seed == 0 else []
                for adapter in ("none", *along, "final"):
                    kind = {"none": "base", "final": "adapter"}.get(adapter, adapter)
                    file = f"p{row:02}-s{seed}-{kind}.png"
                    _draw(folder / file, len(pictures) + 100, self.picture_side)
                    pictures.append(
                        {
                            "file": file, "row": row, "prompt": prompt, "seed": seed,
                            "adapter": adapter, "strength": 0.0 if adapter == "none" else 0.8,
                        }
                    )  # fmt: skip
        folder.mkdir(parents=True, exist_ok=True)
        _json(folder / "index.json", {"pictures": pictures})


def _draw(path: Path, number: int, side: int) -> bytes:
    chance = random.Random(number)
    colour = tuple(chance.randrange(256) for _ in range(3))
    image = Image.new("RGB", (side, side), colour)
    ImageDraw.Draw(image).ellipse([side // 4, side // 4, 3 * side // 4, 3 * side // 4], "white")
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path, "PNG")
    return path.read_bytes()


def _json(path: Path, value: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value, indent=1, ensure_ascii=False, sort_keys=True) + "\n", "utf-8")
