"""Masks and mirrored pictures, as the encode stage writes them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageOps

from lora_recipes.encode import build
from lora_recipes.encode.moments import read_mask
from lora_recipes.encode.store import load_mask, read_index
from lora_recipes.errors import UserError
from tests.encode.conftest import Project


def mask_of(pixels: np.ndarray, path: Path) -> torch.Tensor:
    Image.fromarray(pixels).save(path)
    return read_mask(path)


def test_a_latent_pixel_counts_the_mean_of_the_64_pixels_behind_it(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (24, 32), dtype=np.uint8)
    pixels[:8, :8], pixels[:8, 8:16], pixels[8, 0:8], pixels[9:16, :8] = 255, 0, 255, 0
    found = mask_of(pixels, tmp_path / "mask.png")
    assert (found.shape, found.dtype) == ((1, 3, 4), torch.float32)
    assert found[0, 0, 0] == 1
    assert found[0, 0, 1] == 0
    assert found[0, 1, 0] == 1 / 8
    expected = pixels[16:, 24:].mean() / 255
    assert float(found[0, 2, 3]) == pytest.approx(expected, abs=1e-7)


@pytest.fixture
def looks(project: Project) -> Project:
    """One picture with a mask and a mirrored twin; the held-out one and the third have neither."""
    mask = np.zeros((24, 32), np.uint8)
    mask[:, :20] = 255
    Image.fromarray(mask).save(project.root / "build/images/a.jpg.mask.png")
    project.add(
        "a.jpg", 1, "a photo of zorp", original_size=[800, 480], size=[32, 24], crop=[0, 3],
        flip=True, mask="a.jpg.mask.png", mask_pixels="sha256:1",
    )  # fmt: skip
    return project


def test_what_is_mirrored_is_encoded_both_ways_with_its_mask_and_its_crop(looks: Project) -> None:
    report = looks.run()
    assert report.said[0] == "pictures: 4 encoded, 0 known"
    index = read_index(looks.out)
    images = {image.path: image for image in index.images}
    image, other = images["a.jpg"], images["c.webp"]
    assert (other.mask, other.flipped, other.flipped_mask, other.flipped_left) == ("", "", "", 0)
    # 800 x 480 scaled to cover 32 x 24 is 40 x 24: of the 8 columns too many, 3 are cut off left
    assert (image.time_ids, image.flipped_left) == ((480, 800, 0, 3, 24, 32), 5)
    assert image.mirrored().time_ids == (480, 800, 0, 5, 24, 32)
    mask = load_mask(looks.out / image.mask)
    assert mask[0, 0].tolist() == [1, 1, 0.5, 0]
    assert torch.equal(load_mask(looks.out / image.flipped_mask), mask.flip(-1))
    named = {name for one in index.images for name in one.files}
    assert set(looks.written()) == named | {"index.json", index.empty_text}

    mirrored = looks.written()[image.flipped]
    looks.add("a.jpg", 1, "a photo of zorp", pixels="sha256:turned")
    file = looks.root / "build/images/a.jpg.png"
    with Image.open(file) as picture:
        turned = ImageOps.mirror(picture)
    turned.save(file)
    looks.run()
    twin = next(one for one in read_index(looks.out).images if one.path == "a.jpg")
    assert looks.written()[twin.moments] == mirrored


def test_masks_and_mirrored_pictures_are_encoded_once(
    looks: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks.run()
    cold = looks.written()
    monkeypatch.setattr(build, "load_vae", None)
    assert looks.run().said[0] == "pictures: 0 encoded, 4 known"
    assert looks.written() == cold


def test_a_damaged_mask_is_named_before_any_model_is_loaded(
    looks: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = looks.root / "build/images/a.jpg.mask.png"
    file.write_bytes(b"no picture")
    monkeypatch.setattr(build, "load_vae", None)
    with pytest.raises(UserError, match=r"a.jpg.mask.png: is missing, or is not the picture"):
        looks.run()
    assert not looks.out.exists()
