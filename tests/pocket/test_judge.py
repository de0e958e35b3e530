"""The judge names what was drawn, and finds the demo's subject nowhere else."""

from __future__ import annotations

import subprocess
import sys

import pytest
from PIL import Image, ImageFilter

from pocket_training import demo, judge, world

SEEDS = range(20_000_000, 20_000_200)


@pytest.fixture(scope="module")
def drawn():
    return [(image, facts) for image, _, facts in map(world.draw, SEEDS)]


@pytest.mark.parametrize("blur", [0.0, 1.5])
def test_the_judge_names_colours_and_shape_even_when_blurred(drawn, blur):
    right = {"object_colour": 0, "background_colour": 0, "shape": 0}
    for image, facts in drawn:
        seen = image.filter(ImageFilter.GaussianBlur(blur))
        right["object_colour"] += judge.object_colour(seen) == facts.object_colour
        right["background_colour"] += judge.background_colour(seen) == facts.background_colour
        right["shape"] += judge.object_shape(seen) == facts.shape
    assert min(right.values()) >= 0.97 * len(drawn), right


def test_the_judge_never_finds_the_subject_in_pictures_of_the_world(drawn):
    assert not any(judge.finds_subject(image) for image, _ in drawn)


def test_the_judge_finds_the_subject_in_every_demo_picture_and_in_no_other():
    folders = demo.folders()
    assert [len(pictures) for pictures in folders.values()] == [8, 4, 8]
    for name, pictures in folders.items():
        found = [judge.finds_subject(image) for image, _ in pictures]
        assert found == [name != "demo/others"] * len(pictures)


def test_a_body_without_its_core_is_not_the_subject():
    image = Image.new("RGB", (128, 128), world.COLOURS["red"])
    body = world.mask("circle", world.Place(0.5, 0.5, 0.25), 128)
    image.paste(demo.BODY, (0, 0), body)
    assert not judge.finds_subject(image)
    image.paste(demo.CORE, (0, 0), world.mask("circle", world.Place(0.5, 0.5, 0.13), 128))
    assert judge.finds_subject(image)


def test_an_empty_picture_shows_a_background_and_no_object():
    image = Image.new("RGB", (128, 128), world.COLOURS["blue"])
    assert judge.background_colour(image) == "blue"
    assert judge.object_colour(image) == judge.object_shape(image) == judge.NONE


def test_larger_pictures_are_judged_like_small_ones():
    image, _, facts = world.draw(SEEDS[0], size=256)
    assert judge.object_shape(image) == facts.shape


def test_the_pocket_loads_no_torch():
    code = (
        "import sys; sys.modules['torch'] = None\n"
        "import pocket_training.prove, pocket_training.judge, pocket_training.demo"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
