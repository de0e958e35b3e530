"""A project with a tiny base model and a made-up adapter, shared by the tests of this floor."""

from __future__ import annotations

import copy
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from ruamel.yaml import YAML

from lora_recipes.adapter.file import write
from lora_recipes.adapter.metadata import build
from lora_recipes.adapter.parts import Adapted
from lora_recipes.base.load import load_unet
from lora_recipes.recipe.sections.base import Base
from lora_recipes.recipe.sections.compute import Compute
from lora_recipes.recipe.sections.dataset import Dataset
from lora_recipes.recipe.sections.encode import Encode
from lora_recipes.recipe.sections.lora import Lora
from lora_recipes.recipe.sections.prepare import Prepare
from lora_recipes.recipe.sections.prior import Prior
from lora_recipes.recipe.sections.sample import Sample
from lora_recipes.recipe.sections.section import Section
from lora_recipes.recipe.sections.train import Train
from lora_recipes.reporting import Quiet
from lora_recipes.stages.sample import run
from tests.models import tiny_sdxl

SIZE = (96, 64)
LORA = Lora(rank=2, alpha=4.0)
SAMPLE = Sample(prompts=("a {trigger} {class_word}", "a red star"), steps=2, strength=0.5)


def sections(**changed: Section) -> dict[str, Section]:
    """A recipe; `changed` sections take the place of its own."""
    known: dict[str, Section] = {
        "base": Base(model="model"),
        "dataset": Dataset(trigger="zorp", class_word="circle"),
        "prepare": Prepare(resolution=SIZE),
        "prior": Prior(),
        "encode": Encode(),
        "lora": LORA,
        "train": Train(),
        "sample": SAMPLE,
        "compute": Compute(device="cpu", precision="fp32"),
    }
    return known | changed


def write_resolved(root: Path, **changed: Section) -> None:
    """resolved.yaml, as far as the sample stage reads it."""
    plain: dict[str, Any] = {
        name: section.model_dump(mode="json") for name, section in sections(**changed).items()
    }
    with (root / "resolved.yaml").open("w", encoding="utf-8") as file:
        YAML().dump(plain, file)


@pytest.fixture(scope="session")
def adapter_tensors(tmp_path_factory: pytest.TempPathFactory) -> dict[str, torch.Tensor]:
    """An adapter for the tiny model that changes its pictures plainly."""
    root = tmp_path_factory.mktemp("base")
    tiny_sdxl(root / "model")
    unet = load_unet(Base(model="model"), root, torch.float32, torch.device("cpu"))
    adapted = Adapted({"unet": unet})
    adapted.inject(LORA, seed=1)
    stream = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for weight in adapted.parameters().values():
            weight.copy_(torch.randn(weight.shape, generator=stream) * 0.3)
    return adapted.tensors(LORA.alpha)


@pytest.fixture
def project(tmp_path: Path, adapter_tensors: dict[str, torch.Tensor]) -> Path:
    """A trained project: base model, adapter, one snapshot that is half the adapter."""
    return _trained(tmp_path, adapter_tensors)


@pytest.fixture(scope="session")
def drawn_once(
    tmp_path_factory: pytest.TempPathFactory, adapter_tensors: dict[str, torch.Tensor]
) -> Path:
    """For copies only: `drawn`."""
    root = _trained(tmp_path_factory.mktemp("drawn"), adapter_tensors)
    run(root, Quiet())
    return root


@pytest.fixture
def drawn(tmp_path: Path, drawn_once: Path) -> Path:
    """The trained project after its sample stage, which ran once for all tests."""
    return shutil.copytree(drawn_once, tmp_path, dirs_exist_ok=True)


def _trained(root: Path, tensors: dict[str, torch.Tensor]) -> Path:
    tiny_sdxl(root / "model")
    write_resolved(root)
    header = build(sections(), "sha256:base", "sha256:data", images=4, steps=20)
    write(root / "out/adapter.safetensors", tensors, header)
    half = copy.deepcopy(tensors)
    for name in half:
        if name.endswith("lora_up.weight"):
            half[name] *= 0.5
    write(root / "out/snapshots/step-000010.safetensors", half, header)
    return root
