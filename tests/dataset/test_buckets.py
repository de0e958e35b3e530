"""The table of buckets, and which one a picture gets."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import pytest

from lora_recipes.dataset.buckets import bucket_sizes, nearest, target_of
from lora_recipes.dataset.geometry import cut_off, place
from lora_recipes.dataset.size_problems import size_problems, told_cut
from lora_recipes.recipe.bucket_limits import BucketLimits, bucket_limits
from lora_recipes.recipe.cover import cover, is_smaller
from lora_recipes.recipe.sections.prepare import Prepare
from lora_recipes.reporting import Quiet

TABLE = bucket_sizes(BucketLimits(1024**2, 64, 512, 2048))
SHAPES = [(width, height) for width in range(7, 29) for height in range(7, 29)]
"""From 1:4 to 4:1, as far as the usual limits go."""


@pytest.mark.parametrize(
    ("low", "high", "step", "count"),
    [(256, 1024, 64, 25), (512, 2048, 64, 33), (256, 2048, 32, 81)],
)
def test_there_are_as_many_buckets_as_kohya_has(low: int, high: int, step: int, count: int):
    assert len(bucket_sizes(BucketLimits(1024**2, step, low, high))) == count


def test_the_usual_table_is_this_and_the_defaults_give_it():
    upright = [
        *((512, height) for height in (1856, 1920, 1984, 2048)),
        *((576, height) for height in (1664, 1728, 1792)),
        (640, 1536), (640, 1600), (704, 1408), (704, 1472), (768, 1280), (768, 1344),
        (832, 1216), (896, 1152), (960, 1088),
    ]  # fmt: skip
    across = [(height, width) for width, height in upright]
    assert set(TABLE) == {*upright, (1024, 1024), *across}
    assert bucket_sizes(bucket_limits(Prepare(buckets=True))) == TABLE


@pytest.mark.parametrize(
    ("resolution", "low", "high"),
    [(1024, 512, 2048), (768, 384, 1536), (128, 64, 256), (64, 64, 128)],
)
def test_auto_is_half_and_twice_the_side_but_never_below_64(resolution: int, low: int, high: int):
    limits = bucket_limits(Prepare(resolution=resolution, buckets=True))
    assert (limits.low, limits.high) == (low, high)


def test_no_bucket_is_larger_than_the_resolution_or_off_the_step():
    for resolution in ([832, 1216], 1000, 776):
        limits = bucket_limits(Prepare(resolution=resolution, buckets=True))
        for width, height in bucket_sizes(limits):
            assert width * height <= limits.area
            assert (width % 64, height % 64) == (0, 0)
            assert limits.low <= min(width, height) <= max(width, height) <= limits.high


@pytest.mark.parametrize(
    ("size", "bucket"),
    [
        ((3024, 4032), (896, 1152)),  # phones
        ((4032, 3024), (1152, 896)),
        ((4000, 2250), (1344, 768)),
        ((1080, 2400), (704, 1472)),
        ((6000, 4000), (1216, 832)),
        ((2000, 2000), (1024, 1024)),
        ((832, 1216), (832, 1216)),
    ],
)
def test_a_photo_gets_the_bucket_that_kohya_gives_it(size, bucket):
    assert target_of(size, Prepare(buckets=True)) == bucket


def test_a_photo_keeps_its_shape_to_within_a_step_and_is_never_stretched():
    for size in ((width * 400, height * 400) for width, height in SHAPES):
        bucket = nearest(size, TABLE)
        assert nearest(size[::-1], TABLE) == bucket[::-1], "turned, it gets the bucket turned"
        assert not cut_off(size, bucket).exceeds(64)
        scale = max(Fraction(bucket[0], size[0]), Fraction(bucket[1], size[1]))
        for got, side in zip(cover(size, bucket), size, strict=True):
            assert abs(got - side * scale) <= Fraction(1, 2)
        least = min(cut_off(size, other).share for other in TABLE)
        assert cut_off(size, bucket).share <= least + 0.001  # half a pixel of rounding


@pytest.mark.parametrize("factor", [11, 37, 71, 100])
def test_no_photo_is_enlarged_and_a_small_one_loses_less_than_a_step(factor: int):
    for size in ((width * factor, height * factor) for width, height in SHAPES):
        target, bucket = target_of(size, Prepare(buckets=True)), nearest(size, TABLE)
        assert not is_smaller(size, target)
        assert not cut_off(size, target).exceeds(64)
        assert not is_smaller(bucket, target)
        assert target == bucket or is_smaller(size, bucket)


def test_a_photo_smaller_than_its_bucket_gets_what_it_has_in_whole_steps_or_is_enlarged():
    assert target_of((1000, 800), Prepare(buckets=True)) == (960, 768)
    assert target_of((1000, 800), Prepare(buckets=True, upscale=True)) == (1152, 896)
    assert target_of((400, 5000), Prepare(buckets=True)) == (384, 2048)


def test_of_two_buckets_that_keep_as_much_the_wider_one_counts():
    assert nearest((10, 10), [(64, 128), (128, 64)]) == (128, 64)
    assert nearest((10, 10), [(128, 64), (64, 128)]) == (128, 64)


def test_off_every_photo_gets_the_one_size():
    assert {target_of(size, Prepare(resolution=[64, 128])) for size in SHAPES} == {(64, 128)}


def test_the_few_pixels_go_on_both_sides_or_somewhere():
    assert place((3024, 4032), (896, 1152), "none", 0, "a") == place(
        (3024, 4032), (896, 1152), "center", 0, "a"
    )
    assert place((3024, 4032), (896, 1152), "center", 0, "a").top == 21


@pytest.mark.parametrize(
    ("size", "target", "told"),
    [
        ((4000, 500), (2048, 512), "50 % left and right"),
        ((3024, 4032), (896, 1152), "4 % above and below"),
        ((1000, 999), (1000, 998), "0.1 % above and below"),
        ((64, 64), (64, 64), "nothing"),
    ],
)
def test_what_is_cropped_is_told_in_words(size, target, told: str):
    assert told_cut(cut_off(size, target)) == told


def found(size: tuple[int, int], **settings: Any) -> tuple[list[str], list[str]]:
    """What keeps a picture from being used, and what is warned of."""
    report = Quiet()
    problems = size_problems({"a.jpg": size}, Prepare(buckets=True, **settings), report)
    return [str(problem) for problem in problems], report.warned


def test_a_photo_far_outside_the_limits_is_named_with_what_would_happen():
    assert found((8000, 1000), crop="center") == (
        [],
        [
            "of a shape that no bucket comes near, so much is cropped: "
            "a.jpg (8000×1000 in 2048×512 loses 50 % left and right)"
        ],
    )
    [problem], warned = found((8000, 1000))
    assert (problem, warned) == (
        "pictures of a shape that no bucket comes near: "
        "a.jpg (8000×1000 in 2048×512 loses 50 % left and right)\n"
        "  allowed: to lose up to one prepare.bucket_step, 64 pixels, with prepare.crop: none\n"
        "  fix:     set prepare.crop: center (or random), raise prepare.max_bucket or lower "
        "prepare.min_bucket, or crop them yourself",
        [],
    )


def test_crop_none_lets_up_to_a_step_go():
    assert found((3024, 4032)) == ([], [])
    assert found((4000, 2250), crop="none") == ([], [])


def test_a_photo_too_small_for_a_bucket_is_named():
    [problem], warned = found((50, 400))
    assert (problem, warned) == (
        "pictures too small for a bucket: a.jpg (50×400)\n"
        "  allowed: at least 64 pixels on each side, in whole prepare.bucket_steps of 64\n"
        "  fix:     take larger originals, leave them out, or set prepare.upscale: true",
        [],
    )
    assert found((64, 200)) == ([], [OWN_SIZE.format("64×200 → 64×192")])


OWN_SIZE = "smaller than their bucket, so trained on at their own size: a.jpg ({})"


def test_a_photo_that_is_smaller_than_its_bucket_is_warned_of():
    assert found((1000, 800)) == ([], [OWN_SIZE.format("1000×800 → 960×768")])
    assert found((1000, 800), upscale=True) == (
        [],
        ["enlarged to their bucket, which teaches their blur: a.jpg (1000×800 → 1152×896)"],
    )
