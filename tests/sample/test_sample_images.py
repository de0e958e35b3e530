"""Which images are generated, how they are named, and what their files say."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from PIL import Image

from lora_recipes.recipe.sections.sample import Sample
from lora_recipes.recipe.words import fill
from lora_recipes.sample.index import write_index
from lora_recipes.sample.png_text import HowGenerated, parameters, write_png
from lora_recipes.sample.sample_images import SampleImage, image_size, sample_images

HOW = HowGenerated("blurry", 25, 5.0, "Euler", (128, 96), "pocket")


def test_each_prompt_has_the_base_the_snapshots_in_order_and_the_adapter():
    sample = Sample(seeds=(3, 8), strength=0.7)

    images = sample_images(sample, ["a", "b"], ["step-000200", "step-000100"])

    assert [image.file for image in images] == [
        "p00-s3-base.png", "p00-s3-step-000100.png", "p00-s3-step-000200.png",
        "p00-s3-adapter.png", "p00-s8-base.png", "p00-s8-adapter.png",
        "p01-s3-base.png", "p01-s3-step-000100.png", "p01-s3-step-000200.png",
        "p01-s3-adapter.png", "p01-s8-base.png", "p01-s8-adapter.png",
    ]  # fmt: skip
    assert {(one.adapted, one.strength) for one in images} == {(False, 0), (True, 0.7)}


def test_snapshots_get_images_for_the_first_four_prompts_only():
    images = sample_images(Sample(), [f"prompt {n}" for n in range(6)], ["step-000100"])

    assert [one.row for one in images if one.adapter.startswith("step")] == [0, 1, 2, 3]


def test_a_seed_that_is_written_twice_counts_once():
    assert len(sample_images(Sample(seeds=(1, 1)), ["a"], [])) == 2


@pytest.mark.parametrize(
    ("prompt", "trigger", "class_word", "expected"),
    [
        ("a {trigger} {class_word} in snow", "zwk", "toy", "a zwk toy in snow"),
        ("a {trigger} {class_word} in snow", "none", "toy", "a toy in snow"),
        ("{trigger}", "none", "none", ""),
        ("two  spaces {stay} {", "zwk", "toy", "two  spaces {stay} {"),
    ],
)
def test_placeholders_are_filled_and_nothing_else_is_touched(
    prompt: str, trigger: str, class_word: str, expected: str
):
    assert fill(prompt, trigger, class_word) == expected


def test_the_size_is_the_recipes_or_that_of_the_training():
    assert image_size(Sample(), 128) == (128, 128)
    assert image_size(Sample(), [832, 1216]) == (832, 1216)
    assert image_size(Sample(size=(64, 96)), 128) == (64, 96)


def test_the_parameters_read_as_other_programs_write_them():
    assert parameters(SampleImage(0, "a toy", 7, "final", 0.5), HOW) == (
        "a toy <lora:adapter:0.5>\n"
        "Negative prompt: blurry\n"
        "Steps: 25, Sampler: Euler, CFG scale: 5, Seed: 7, Size: 128x96, Model: pocket"
    )
    assert parameters(SampleImage(0, "a toy", 7, "none", 0.0), HOW).startswith("a toy\n")


@pytest.mark.parametrize("prompt", ["a toy", "игрушка 🧸 with\na second line"])
def test_an_image_says_how_it_came_about_and_nothing_of_when(tmp_path: Path, prompt: str):
    pixels = Image.effect_noise((32, 24), 50).convert("RGB")
    image = SampleImage(0, prompt, 7, "step-000100", 1.0)

    write_png(tmp_path / "a.png", pixels, image, HOW)
    write_png(tmp_path / "b.png", pixels, image, HOW)

    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    with Image.open(tmp_path / "a.png") as read:
        read.load()
        assert read.tobytes() == pixels.tobytes()
        assert read.text == {
            "parameters": parameters(image, HOW),
            "prompt": prompt,
            "seed": "7",
            "adapter": "step-000100",
            "strength": "1",
        }


def test_the_index_lists_the_images_in_order(tmp_path: Path):
    images = sample_images(Sample(), ["ж"], [])

    write_index(tmp_path, images)

    assert json.loads((tmp_path / "index.json").read_text("utf-8")) == {
        "pictures": [
            {
                "file": f"p00-s0-{kind}.png", "row": 0, "prompt": "ж", "seed": 0,
                "adapter": adapter, "strength": strength,
            }
            for kind, adapter, strength in (("base", "none", 0.0), ("adapter", "final", 1.0))
        ]
    }  # fmt: skip
