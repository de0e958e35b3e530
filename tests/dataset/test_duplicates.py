"""Pictures that are there twice, exactly or nearly."""

from __future__ import annotations

import io

import pytest
from PIL import Image, ImageDraw

from lora_recipes.dataset.duplicates import Pair, alike
from lora_recipes.dataset.examine import facts_of
from tests.dataset.pictures import data_of, photo


def scene(seed: int) -> Image.Image:
    """A coloured disc somewhere on a smooth background."""
    picture = photo(160, 120, seed)
    x, y = 20 + 37 * seed % 100, 20 + 53 * seed % 60
    ImageDraw.Draw(picture).ellipse((x, y, x + 40, y + 40), fill=(200, 30 * seed % 256, 40))
    return picture


def pairs(**pictures: Image.Image | bytes) -> list[Pair]:
    data = {
        name: content if isinstance(content, bytes) else data_of(content)
        for name, content in pictures.items()
    }
    return alike({name: facts_of(content, "") for name, content in data.items()})


def as_jpeg(picture: Image.Image) -> Image.Image:
    return Image.open(io.BytesIO(data_of(picture, "JPEG", quality=60)))


def test_the_same_pixels_in_two_formats_are_exact_duplicates():
    assert pairs(a=scene(1), b=data_of(scene(1), "TIFF"), c=scene(2)) == [Pair("a", "b", True)]


def test_of_three_equal_pictures_each_is_named_with_the_first():
    assert pairs(c=scene(1), a=scene(1), b=scene(1)) == [
        Pair("a", "b", True),
        Pair("a", "c", True),
    ]


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize(
    "copy",
    [
        as_jpeg,
        lambda picture: picture.resize((80, 60), Image.Resampling.LANCZOS),
        lambda picture: picture.crop((1, 1, 159, 119)),
        lambda picture: picture.point(lambda value: min(value + 4, 255)),
    ],
    ids=["recompressed", "halved", "trimmed", "brightened"],
)
def test_retouched_copies_are_near_duplicates(copy, seed):
    original = scene(seed)
    assert pairs(a=original, b=copy(original)) == [Pair("a", "b", False)]


def test_different_pictures_are_not_duplicates():
    assert pairs(**{f"{seed:02}": scene(seed) for seed in range(20)}) == []


def test_plain_pictures_of_different_colours_are_not_duplicates():
    plain = {c: Image.new("RGB", (32, 32), c) for c in ("red", "green", "blue", "black")}
    assert pairs(**plain) == []


def test_the_same_pixels_in_another_shape_are_no_exact_duplicate():
    found = pairs(a=Image.new("RGB", (32, 16)), b=Image.new("RGB", (16, 32)))
    assert found == [Pair("a", "b", False)]


def test_more_pictures_than_one_block_are_compared_across_blocks(monkeypatch):
    monkeypatch.setattr("lora_recipes.dataset.duplicates.BLOCK", 3)
    pictures = {f"{seed:02}": scene(seed) for seed in range(10)}
    assert pairs(**pictures, zz=as_jpeg(scene(1))) == [Pair("01", "zz", False)]


def test_no_pictures_have_no_duplicates():
    assert alike({}) == []
