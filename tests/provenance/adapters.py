"""A small git repository whose commits hold trained adapters: locks and a cache as DVC's own."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from torch import Tensor

from lora_recipes.formats.hashes import identity
from lora_recipes.hashing import digest
from lora_recipes.provenance.objects import file_md5
from lora_recipes.tensors import write_tensors
from tests.provenance.git import commit, make_repository

MODULE = "lora_unet_middle_block_1_transformer_blocks_0_attn1_to_q"


def adapter(value: float) -> dict[str, Tensor]:
    """The tensors of a training; another value, another training."""
    numbers = torch.linspace(-1, 1, 32).reshape(4, 8)
    return {
        f"{MODULE}.alpha": torch.tensor(4.0),
        f"{MODULE}.lora_down.weight": numbers * value,
        f"{MODULE}.lora_up.weight": numbers.T.contiguous() + 0.123,
    }


def header(value: float, step: int | None = None) -> dict[str, str]:
    """What such a training writes above its tensors."""
    fields = {"lora_recipes.hash": digest(value)}
    fields["lora_recipes.train"] = json.dumps({"learning_rate": value})
    return fields if step is None else {**fields, "lora_recipes.step": str(step)}


class Trained:
    """A project with a git history of trainings, no DVC run in it."""

    def __init__(self, root: Path, record: bool = True) -> None:
        """Begin; `record`: whether trainings record hashes, as those of early releases did not."""
        self.root = make_repository(root)
        self.record = record
        (root / ".dvc").mkdir()
        (root / ".dvc/config").write_text("[core]\n    analytics = false\n")
        (root / ".gitignore").write_text("/out/adapter.safetensors\n/out/snapshots/\n/.dvc/cache\n")
        (root / "out").mkdir()
        (root / "dvc.yaml").write_text("stages: {}\n")

    @property
    def adapter(self) -> Path:
        return self.root / "out/adapter.safetensors"

    def train(self, value: float, note: str = "") -> None:
        """Write what a training would: adapter, one snapshot, record, lock, cache objects."""
        write_tensors(self.adapter, adapter(value), header(value))
        snapshot = self.root / "out/snapshots/step-000003.safetensors"
        write_tensors(snapshot, adapter(value / 2), header(value, step=3))
        listing = self.root / "listing"
        listing.write_text(
            json.dumps([{"md5": file_md5(snapshot), "relpath": "step-000003.safetensors"}])
        )
        folder = f"{file_md5(listing)}.dir"
        for file, md5 in (
            (self.adapter, file_md5(self.adapter)),
            (snapshot, file_md5(snapshot)),
            (listing, folder),
        ):
            self.object(md5).parent.mkdir(parents=True, exist_ok=True)
            self.object(md5).write_bytes(file.read_bytes())
        listing.unlink()
        if self.record:
            self.say("out/train.json", {"loss_last": value})
            self.say("out/environment.json", {**identity(self.adapter), "environment": {}})
        else:
            self.say("out/train.json", {"loss_smoothed": value, "environment": {}})
        (self.root / "dvc.lock").write_text(lock(file_md5(self.adapter), folder, note))

    def say(self, file: str, record: dict[str, object]) -> None:
        """Write a record as the train stage does."""
        (self.root / file).write_text(json.dumps(record, indent=1, sort_keys=True))

    def commit(self, message: str) -> str:
        return commit(self.root, message)

    def object(self, md5: str) -> Path:
        return self.root / ".dvc/cache/files/md5" / md5[:2] / md5[2:]


def lock(adapter_md5: str, folder: str, note: str) -> str:
    """dvc.lock as DVC writes it; `note` stands for whatever else it holds."""
    return f"""schema: '2.0'
stages:
  dataset:
    cmd: python -m lora_recipes stage dataset {note}
    outs:
    - path: out/adapter.safetensors.not
      hash: md5
      md5: {adapter_md5[::-1]}
      size: 1
  train:
    cmd: python -m lora_recipes stage train
    deps:
    - path: build/encoded
      hash: md5
      md5: 0812a06946aa85e46289dbb0a91981b8.dir
      size: 1764481
      nfiles: 41
    outs:
    - path: out/adapter.safetensors
      hash: md5
      md5: {adapter_md5}
      size: 1608128
    - path: out/snapshots
      hash: md5
      md5: {folder}
      size: 4824456
      nfiles: 1
  sample:
    cmd: python -m lora_recipes stage sample
    deps:
    - path: out/adapter.safetensors
      hash: md5
      md5: {adapter_md5}
      size: 1608128
"""
