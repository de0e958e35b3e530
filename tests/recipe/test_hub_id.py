"""A name with one slash is a Hugging Face id, unless it can only be a path."""

from __future__ import annotations

from pathlib import Path

import pytest

from lora_recipes.recipe.hub_id import is_hub_id


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("stabilityai/stable-diffusion-xl-base-1.0", True),
        ("models/nothere", False),
        ("data/sdxl", False),
        ("owner/model.safetensors", False),
        ("owner/model.ckpt", False),
        ("weights/sdxl", False),
        ("pocket", False),
        ("a/b/c", False),
        ("~/models/sdxl", False),
    ],
)
def test_a_path_is_never_looked_for_on_the_hub(tmp_path: Path, name: str, expected: bool):
    (tmp_path / "weights").mkdir()
    assert is_hub_id(name, tmp_path) is expected
