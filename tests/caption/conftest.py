"""A project with pictures, and the tiny captioning models."""

from __future__ import annotations

from pathlib import Path

import pytest
from huggingface_hub import constants

from tests.caption import tiny
from tests.dataset.pictures import put

RECIPE = """\
schema: 1
name: mine
version: 1
description: for tests
dataset: {trigger: zwk, class_word: toy, control: others}
"""


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project of five pictures: two have a caption, one shows another thing. No network."""
    root = tmp_path / "project"
    (root / "recipes").mkdir(parents=True)
    (root / "recipes/mine.yaml").write_text(RECIPE)
    (root / "params.yaml").write_text("recipe: mine\ndata: data/my\n")
    data = root / "data/my"
    for name in ("a.png", "b.png", "c.png", "deep/d.png", "others/e.png"):
        put(data, name)
    put(data, "a.txt", "my own words\n")
    put(data, "metadata.jsonl", '{"file_name": "b.png", "text": "from metadata"}\n')
    monkeypatch.chdir(root)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    return root


@pytest.fixture
def blip(root: Path) -> Path:
    return tiny.blip(root / "blip")


@pytest.fixture
def florence(root: Path) -> Path:
    return tiny.florence(root / "florence")
