"""What a plan says of the data before anything runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from lora_recipes.dataset import examine, outlook
from lora_recipes.dataset.outlook import Outlook
from lora_recipes.dataset.pin import accept
from lora_recipes.recipe.sections.dataset import Dataset
from lora_recipes.recipe.sections.prepare import Prepare
from tests.dataset.pictures import photo, project, put

TOY = {"trigger": "zwk", "class_word": "toy"}


@pytest.fixture(autouse=True)
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DVC_ROOT", raising=False)
    project(tmp_path, TOY)
    put(tmp_path / "data/my", "a.png", photo(100, 100, 1))
    put(tmp_path / "data/my", "3_zwk toy/b.png", photo(100, 100, 2))
    return tmp_path


def ask(root: Path, resolution: int = 64, **dataset: Any) -> Outlook:
    return outlook.outlook(root, Dataset(**(TOY | dataset)), Prepare(resolution=resolution))


def told(found: Outlook) -> str:
    return "\n".join(map(str, found.problems))


def test_pictures_are_counted_with_and_without_their_folders_repeats(root):
    found = ask(root)
    assert (found.pictures, found.images, found.problems) == (2, 4, [])
    assert len(found.warnings) == 1
    assert found.warnings[0].startswith("data/my: unpinned data, sha256:")


def test_data_that_differ_from_the_pin_and_small_pictures_are_both_told(root):
    pin = accept(root, Dataset(**TOY)).hash
    assert ask(root, manifest=pin).problems == []
    put(root / "data/my", "c.png", photo(60, 60, 3))
    found = ask(root, manifest=pin)
    assert "data/my: the data are sha256:" in told(found)
    assert "\n  added:    c.png\n" in told(found)
    assert told(found).splitlines()[-2:] == [
        "pictures smaller than prepare.resolution, 64×64: c.png (60×60)",
        "  fix:     take larger originals, lower prepare.resolution, or set prepare.upscale: true",
    ]
    assert (found.pictures, found.images) == (3, 5)


def test_damaged_pictures_and_an_empty_folder_are_told(root):
    put(root / "data/my", "a.png", b"")
    assert told(ask(root)).startswith("data/my/a.png: is empty (0 bytes)")
    for file in [*root.glob("data/my/*.png"), *root.glob("data/my/*/*.png")]:
        file.unlink()
    found = ask(root)
    assert found.images == 0
    assert told(found).startswith("data/my: there are no pictures to train on\n")


def test_without_the_folder_nothing_is_known(root):
    (root / "data").rename(root / "away")
    found = ask(root)
    assert (found.pictures, found.images) == (None, None)


@pytest.mark.usefixtures("later")
def test_many_new_pictures_are_not_decoded_for_a_plan(root, monkeypatch):
    monkeypatch.setattr(outlook, "A_MOMENT", 15_000)
    facts_of = examine.facts_of
    monkeypatch.setattr(examine, "facts_of", None)
    found = ask(root)
    assert found.warnings == ["2 pictures are new; what is in them, `dvc repro` will tell"]
    assert (found.images, found.problems) == (4, [])
    monkeypatch.setattr(examine, "facts_of", facts_of)
    accept(root, Dataset(**TOY))
    assert ask(root).warnings[0].startswith("data/my: unpinned data"), "they are known now"


def test_a_folder_that_is_not_there_would_stop_the_pipeline_unless_dvc_keeps_it(tmp_path: Path):
    (tmp_path / "params.yaml").write_text("recipe: x\ndata: data/rexx\n")
    found = outlook.outlook(tmp_path, Dataset(), Prepare())
    assert [str(problem) for problem in found.problems] == [
        "params.yaml: data = data/rexx: there is no such folder\n"
        "  fix:     name the folder that holds your pictures"
    ]
    (tmp_path / "data/rexx.dvc").write_text("outs: []\n")
    assert outlook.outlook(tmp_path, Dataset(), Prepare()).problems == []
