"""Writing the data's hash without touching anything else."""

from __future__ import annotations

import pytest

from lora_recipes.recipe.load import load_recipe, resolve
from lora_recipes.recipe.pin import pin
from tests.recipe.conftest import HEAD, message

HASH = "sha256:" + "ab" * 32
OTHER = "sha256:" + "0" * 64


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (
            "dataset:\n  manifest: unpinned  # not yet\n  trigger: 'zwk'\n",
            f"dataset:\n  manifest: {HASH}  # not yet\n  trigger: 'zwk'\n",
        ),
        (
            f'# top\ndataset:  # which\n  trigger: zwk\n  manifest: "{OTHER}"\nlora: {{rank: 4}}\n',
            f"# top\ndataset:  # which\n  trigger: zwk\n  manifest: {HASH}\nlora: {{rank: 4}}\n",
        ),
        (
            "dataset:\n    # a note\n    trigger: zwk\n",
            f"dataset:\n    # a note\n    manifest: {HASH}\n    trigger: zwk\n",
        ),
        ("lora: {rank: 4}\n", f"lora: {{rank: 4}}\ndataset:\n  manifest: {HASH}\n"),
        ("lora: {rank: 4}", f"lora: {{rank: 4}}\ndataset:\n  manifest: {HASH}\n"),
        (
            f"dataset:\n  manifest: \n    {OTHER}    # as DVC folds it\n  trigger: x\n",
            f"dataset:\n  manifest: {HASH}    # as DVC folds it\n  trigger: x\n",
        ),
        (
            "dataset: {trigger: x, manifest: unpinned}\n",
            f"dataset: {{trigger: x, manifest: {HASH}}}\n",
        ),
    ],
)
def test_one_value_is_written_and_all_else_stays(project, before, after):
    head = HEAD.format(name="mine")
    path = project.file("recipes/mine.yaml", head + before)
    assert pin(project.root, "mine", HASH) == path
    assert path.read_text("utf-8") == head + after
    assert load_recipe(project.root, "mine").recipe.dataset.manifest == HASH


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (
            "dataset:\n  manifest: null  # the data's hash\n",
            f"dataset:\n  manifest: {HASH}  # the data's hash\n",
        ),
        ("dataset:\n  manifest:\n  trigger: x\n", f"dataset:\n  manifest: {HASH}\n  trigger: x\n"),
        ("dataset: null\n", f"dataset:\n  manifest: {HASH}\n"),
        ("dataset:\nlora: {rank: 4}\n", f"dataset:\n  manifest: {HASH}\nlora: {{rank: 4}}\n"),
    ],
)
def test_without_a_recipe_params_yaml_is_pinned(project, before, after):
    head = "recipe: mine\ndata: data\n"
    path = project.file("params.yaml", head + before)
    assert pin(project.root, None, HASH) == path
    assert path.read_text("utf-8") == head + after
    assert resolve(project.root).recipe.dataset.manifest == HASH


def test_windows_line_ends_and_a_byte_order_mark_stay(project):
    head = HEAD.format(name="mine").replace("\n", "\r\n")
    path = project.file("recipes/mine.yaml", "\ufeff" + head + "dataset:\r\n  trigger: x\r\n")
    pin(project.root, "mine", HASH)
    assert path.read_bytes().decode() == (
        "\ufeff" + head + f"dataset:\r\n  manifest: {HASH}\r\n  trigger: x\r\n"
    )


@pytest.mark.parametrize(
    "dataset", ["dataset: {}", "dataset: {trigger: x}", "dataset: [1]", "x: &d {}\ndataset: *d"]
)
def test_what_cannot_be_edited_safely_is_left_alone(project, dataset):
    text = HEAD.format(name="mine") + dataset + "\n"
    path = project.file("recipes/mine.yaml", text)
    assert message(lambda: pin(project.root, "mine", HASH)) == (
        "recipes/mine.yaml: dataset is written in a way that cannot be edited safely\n"
        "  allowed: a mapping on lines of its own, without aliases\n"
        f"  fix:     write it yourself: under `dataset:`, `  manifest: {HASH}`"
    )
    assert path.read_text("utf-8") == text
    assert [file.name for file in path.parent.iterdir()] == ["mine.yaml"]


def test_a_recipe_that_is_not_there_is_told(project):
    assert message(lambda: pin(project.root, "mien", HASH)) == (
        "there is no recipe mien\n  allowed: one of mine\n  fix:     did you mean mine?"
    )
