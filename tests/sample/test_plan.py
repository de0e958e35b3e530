"""Which pictures are drawn, how they are named, and what their files say."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from PIL import Image

from lora_recipes.recipe.sections.sample import Sample
from lora_recipes.recipe.words import fill
from lora_recipes.sample import plan
from lora_recipes.sample.folder import write_index
from lora_recipes.sample.plan import Picture
from lora_recipes.sample.png import HowDrawn, parameters, write_png

HOW = HowDrawn("blurry", 25, 5.0, "Euler", (128, 96), "pocket")


def test_each_prompt_has_the_base_the_snapshots_in_order_and_the_adapter():
    sample = Sample(seeds=(3, 8), strength=0.7)

    pictures = plan.pictures(sample, ["a", "b"], ["step-000200", "step-000100"])

    assert [picture.file for picture in pictures] == [
        "p00-s3-base.png", "p00-s3-step-000100.png", "p00-s3-step-000200.png",
        "p00-s3-adapter.png", "p00-s8-base.png", "p00-s8-adapter.png",
        "p01-s3-base.png", "p01-s3-step-000100.png", "p01-s3-step-000200.png",
        "p01-s3-adapter.png", "p01-s8-base.png", "p01-s8-adapter.png",
    ]  # fmt: skip
    assert {(one.adapter == "none", one.strength) for one in pictures} == {(True, 0), (False, 0.7)}


def test_snapshots_are_drawn_for_the_first_four_prompts_only():
    pictures = plan.pictures(Sample(), [f"prompt {n}" for n in range(6)], ["step-000100"])

    assert [one.row for one in pictures if one.adapter.startswith("step")] == [0, 1, 2, 3]


def test_a_seed_that_is_written_twice_is_drawn_once():
    assert len(plan.pictures(Sample(seeds=(1, 1)), ["a"], [])) == 2


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
    assert plan.picture_size(Sample(), 128) == (128, 128)
    assert plan.picture_size(Sample(), [832, 1216]) == (832, 1216)
    assert plan.picture_size(Sample(size=(64, 96)), 128) == (64, 96)


def test_the_parameters_read_as_other_programs_write_them():
    assert parameters(Picture(0, "a toy", 7, "final", 0.5), HOW) == (
        "a toy <lora:adapter:0.5>\n"
        "Negative prompt: blurry\n"
        "Steps: 25, Sampler: Euler, CFG scale: 5, Seed: 7, Size: 128x96, Model: pocket"
    )
    assert parameters(Picture(0, "a toy", 7, "none", 0.0), HOW).startswith("a toy\n")


@pytest.mark.parametrize("prompt", ["a toy", "игрушка 🧸 with\na second line"])
def test_a_picture_says_how_it_came_about_and_nothing_of_when(tmp_path: Path, prompt: str):
    image = Image.effect_noise((32, 24), 50).convert("RGB")
    picture = Picture(0, prompt, 7, "step-000100", 1.0)

    write_png(tmp_path / "a.png", image, picture, HOW)
    write_png(tmp_path / "b.png", image, picture, HOW)

    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    with Image.open(tmp_path / "a.png") as read:
        read.load()
        assert read.tobytes() == image.tobytes()
        assert read.text == {
            "parameters": parameters(picture, HOW),
            "prompt": prompt,
            "seed": "7",
            "adapter": "step-000100",
            "strength": "1",
        }


def test_the_index_lists_the_pictures_in_order(tmp_path: Path):
    pictures = plan.pictures(Sample(), ["ж"], [])

    write_index(tmp_path, pictures)

    assert json.loads((tmp_path / "index.json").read_text("utf-8")) == {
        "pictures": [
            {
                "file": f"p00-s0-{kind}.png", "row": 0, "prompt": "ж", "seed": 0,
                "adapter": adapter, "strength": strength,
            }
            for kind, adapter, strength in (("base", "none", 0.0), ("adapter", "final", 1.0))
        ]
    }  # fmt: skip
