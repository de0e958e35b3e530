"""Advice that a user can follow as it stands: whole messages."""

from __future__ import annotations

import pytest

from lora_recipes.recipe.explain import explain
from lora_recipes.recipe.load import resolve, validate_recipe
from tests.recipe.conftest import message

SHARES = "write shares of the training, such as [0.25, 0.5, 0.75]"
TEXTS = "a list of texts"
PIXELS = "a whole number from 64 to 4,096, a multiple of 8, or [width, height] of such"
RATE = "a number above 0 up to 0.1, or auto"
RANK = "a whole number from 1 to 1,024"
RANGE = "choose a value in that range; the default is 128"
QUOTES = "put it in quotes, which makes a text of it"
BRACE = "is not YAML: a text that starts with { is not quoted"


@pytest.mark.parametrize(
    ("line", "at", "what", "allowed", "fix"),
    [
        (
            "train:\n  learning_rate: 0,0002",
            4,
            "train.learning_rate = 0,0002",
            RATE,
            "write a point: 0.0002",
        ),
        (
            "dataset:\n  trigger: 007",
            4,
            "dataset.trigger = 007",
            "a text",
            'put it in quotes: "007"',
        ),
        ("lora: {rank: 00}", 3, "lora.rank = 0", RANK, RANGE),
        ("dataset:\n  trigger: 7", 4, "dataset.trigger = 7", "a text", QUOTES),
        ("dataset:\n  trigger: true", 4, "dataset.trigger = true", "a text", QUOTES),
        (
            "train: {snapshots: 4}",
            3,
            "train.snapshots = 4",
            "a list of: a number above 0 and below 1",
            SHARES,
        ),
        (
            "prepare: {resolution: 1024x1024}",
            3,
            "prepare.resolution = 1024x1024",
            PIXELS,
            "write [1024, 1024] or 1024",
        ),
        (
            "prepare: {resolution: 832 x 1216}",
            3,
            "prepare.resolution = 832 x 1216",
            PIXELS,
            "write [832, 1216]",
        ),
        (
            "sample:\n  prompts: [a cat: on a mat]",
            4,
            "sample.prompts[0] = {a cat: on a mat} is a mapping",
            TEXTS,
            'quote the text: "a cat: on a mat"',
        ),
        (
            "sample:\n  prompts: [a photo of {trigger} {class_word}]",
            4,
            "is not YAML: a text with { in a list is not quoted",
            "",
            'write `prompts: ["a photo of {trigger} {class_word}"]`',
        ),
        (
            "sample:\n  prompts:\n    - {trigger} on a beach",
            5,
            BRACE,
            "",
            'write `- "{trigger} on a beach"`',
        ),
    ],
)
def test_the_fix_can_be_copied(project, line, at, what, allowed, fix):  # noqa: PLR0917
    project.params(line + "\n")
    middle = f"  allowed: {allowed}\n" if allowed else ""
    assert message(lambda: resolve(project.root)) == (
        f"params.yaml:{at}: {what}\n{middle}  fix:     {fix}"
    )


def test_a_recipe_whose_file_name_cannot_be_a_name_is_to_be_renamed(project):
    project.recipe("", "My Clock")
    assert message(lambda: validate_recipe(project.root, "My Clock")) == (
        "recipes/My Clock.yaml: the recipe is called My Clock\n"
        "  allowed: small letters, digits, - and _, like the file without .yaml\n"
        "  fix:     rename the file to my-clock.yaml, and write `name: my-clock`"
    )


@pytest.mark.parametrize(
    ("word", "key"),
    [
        ("lr", "train.learning_rate"),
        ("network_dim", "lora.rank"),
        ("train.lr", "train.learning_rate"),
        ("lora_alpha", "lora.alpha"),
        ("mixed_precision", "compute.precision"),
        ("guidance_scale", "prior.guidance or sample.guidance"),
    ],
)
def test_explain_knows_the_words_of_other_trainers(word, key):
    assert message(lambda: explain(word)).endswith(f"\n  fix:     did you mean {key}?")
