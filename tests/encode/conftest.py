from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image as Pillow

from lora_recipes.dataset.manifest import Image, Manifest, make, write
from lora_recipes.hashing import sha256_bytes
from lora_recipes.recipe.sections.base import Base
from lora_recipes.recipe.sections.compute import Compute
from lora_recipes.recipe.sections.encode import Encode
from lora_recipes.reporting import Quiet
from lora_recipes.stages import encode as stage
from tests.models import tiny_sdxl


@dataclass
class Project:
    """A project as it is before the encode stage, small enough to be edited in a test."""

    root: Path
    pictures: list[dict[str, Any]] = field(default_factory=list)
    settings: dict[str, dict[str, Any]] = field(default_factory=dict)
    code: str = "sha256:1"

    def add(self, path: str, seed: int, caption: str, **more: Any) -> None:
        """One prepared picture of 32 x 24 pixels."""
        pixels = np.random.default_rng(seed).integers(0, 256, (24, 32, 3), dtype=np.uint8)
        file = self.root / "build/images" / f"{path}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        Pillow.fromarray(pixels).save(file)
        self.pictures = [picture for picture in self.pictures if picture["path"] != path]
        self.pictures.append(
            {
                "path": path, "role": "train", "file": f"{path}.png",
                "pixels": sha256_bytes(pixels.tobytes()), "original_size": [640, 480],
                "crop": [3, 5], "size": [32, 24], "caption": caption, "repeats": 1, **more,
            }
        )  # fmt: skip

    @property
    def manifest(self) -> Manifest:
        """What the dataset stage would have found."""
        known = {"sha256": "sha256:0", "format": "PNG", "caption_from": "file"}
        names = ("path", "role", "caption", "repeats", "variants")
        return make(
            Image(**{k: one[k] for k in names if k in one}, width=640, height=480, **known)
            for one in self.pictures
        )

    def run(self) -> Quiet:
        """Run the stage on the project as it is now."""
        names = ("path", "file", "pixels", "original_size", "crop", "size")
        index = {"images": [{name: one[name] for name in names} for one in self.pictures]}
        (self.root / "build/images/index.json").write_text(json.dumps(index))
        write(self.root / "build/manifest.json", self.manifest)
        sections = {
            "base": Base(model="model", **self.settings.get("base", {})),
            "encode": Encode(**self.settings.get("encode", {})),
            "compute": Compute(device="cpu", **self.settings.get("compute", {})),
        }
        resolved = {name: section.model_dump() for name, section in sections.items()}
        text = json.dumps(resolved | {"code": {"encode": self.code}})  # JSON is YAML too
        (self.root / "resolved.yaml").write_text(text)
        report = Quiet()
        stage.run(self.root, report)
        return report

    @property
    def out(self) -> Path:
        return self.root / "build/encoded"

    def written(self) -> dict[str, bytes]:
        """Every file of the output with its bytes."""
        files = sorted(path for path in self.out.rglob("*") if path.is_file())
        assert files
        return {str(path.relative_to(self.out)): path.read_bytes() for path in files}


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    """Three pictures, two of them with the same caption."""
    monkeypatch.delenv("DVC_ROOT", raising=False)
    tiny_sdxl(tmp_path / "model")
    made = Project(tmp_path)
    made.add("a.jpg", 1, "a photo of zorp")
    made.add("sub/b.png", 2, "a red star", role="heldout", repeats=3)
    made.add("c.webp", 3, "a photo of zorp")
    return made


@pytest.fixture(autouse=True)
def _torch_as_it_was() -> Iterator[None]:
    """The stage sets torch up for its process; other tests must not notice."""
    threads = torch.get_num_threads()
    deterministic = torch.are_deterministic_algorithms_enabled()
    yield
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(deterministic)
    torch.backends.cudnn.deterministic = False
    torch.backends.cuda.enable_flash_sdp(True)
    torch.backends.cuda.enable_mem_efficient_sdp(True)
    torch.backends.cuda.enable_cudnn_sdp(True)
