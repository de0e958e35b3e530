"""Scaling and cropping, as numbers."""

from __future__ import annotations

from fractions import Fraction

import pytest

from lora_recipes.dataset.geometry import Placement, place
from lora_recipes.dataset.size import shape
from lora_recipes.recipe.cover import cover, fits, is_smaller
from lora_recipes.recipe.size import size_of

SIZES = [(1000, 1500), (1500, 1000), (3000, 3001), (4032, 3024), (65, 4000), (1, 1), (832, 1216)]
TARGETS = [(1024, 1024), (832, 1216), (64, 128)]


def test_a_1000_by_1500_picture_to_832_by_1216_crops_16_rows_at_the_top_and_no_column():
    placement = place((1000, 1500), (832, 1216), "center", 0, "a.jpg")
    assert placement == Placement(resized=(832, 1248), top=16, left=0)


def test_a_1500_by_1000_picture_crops_columns_and_no_row():
    placement = place((1500, 1000), (1216, 832), "center", 0, "a.jpg")
    assert placement == Placement(resized=(1248, 832), top=0, left=16)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("target", TARGETS)
def test_the_scaled_picture_covers_the_target_and_touches_it_on_one_axis(size, target):
    width, height = cover(size, target)
    assert width >= target[0]
    assert height >= target[1]
    assert width == target[0] or height == target[1]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("target", TARGETS)
def test_no_picture_is_stretched_by_more_than_half_a_pixel(size, target):
    scale = max(Fraction(target[0], size[0]), Fraction(target[1], size[1]))
    width, height = cover(size, target)
    assert abs(width - size[0] * scale) <= Fraction(1, 2)
    assert abs(height - size[1] * scale) <= Fraction(1, 2)


@pytest.mark.parametrize("crop", ["center", "random"])
@pytest.mark.parametrize("size", SIZES)
def test_every_crop_lies_inside_the_scaled_picture(size, crop):
    for seed in range(20):
        placement = place(size, (832, 1216), crop, seed, "a.jpg")
        assert 0 <= placement.top <= placement.resized[1] - 1216
        assert 0 <= placement.left <= placement.resized[0] - 832


def test_a_random_crop_depends_on_seed_and_path_and_on_nothing_else():
    def top(seed: int, path: str) -> int:
        return place((1000, 9000), (512, 512), "random", seed, path).top

    assert top(0, "a.jpg") == top(0, "a.jpg") == 1935
    assert len({top(seed, "a.jpg") for seed in range(10)}) == 10
    assert len({top(0, f"{name}.jpg") for name in range(10)}) == 10


def test_random_crops_reach_both_edges():
    tops = {place((8, 11), (8, 8), "random", seed, "a").top for seed in range(100)}
    assert tops == {0, 1, 2, 3}


def test_a_shape_fits_within_rounding_only():
    assert fits((3000, 3001), (1024, 1024))
    assert not fits((1000, 1001), (1024, 1024))
    assert fits((1664, 2432), (832, 1216))
    assert not fits((2432, 1664), (832, 1216))


def test_a_picture_is_smaller_if_either_edge_is():
    assert is_smaller((2000, 1023), (1024, 1024))
    assert is_smaller((1023, 2000), (1024, 1024))
    assert not is_smaller((1024, 1024), (1024, 1024))


def test_one_number_is_a_square():
    assert size_of(768) == (768, 768)
    assert size_of((832, 1216)) == (832, 1216)


@pytest.mark.parametrize(
    ("size", "name"),
    [
        ((1500, 1000), "3:2"),
        ((832, 1216), "13:19"),
        ((1000, 1001), "1:1.00"),
        ((1333, 1000), "1.33:1"),
    ],
)
def test_shapes_are_told_as_small_terms_or_as_a_decimal(size, name):
    assert shape(size) == name
