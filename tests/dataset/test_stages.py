"""The stages dataset and prepare, and the quick count, on a project's files."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from lora_recipes.dataset.manifest import read
from lora_recipes.dataset.pin import accept
from lora_recipes.errors import UserError
from lora_recipes.plan.count import repeats_by_name
from lora_recipes.recipe.sections.dataset import Dataset
from lora_recipes.reporting import Quiet
from lora_recipes.stages import dataset, prepare
from tests.dataset.pictures import files_under, photo, project, put

TOY = {"trigger": "zwk", "class_word": "toy"}


@pytest.fixture(autouse=True)
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    project(tmp_path, TOY, {"resolution": 64})
    put(tmp_path / "data" / "my", "a.png", photo(100, 100, 1))
    put(tmp_path / "data" / "my", "sub/b.jpg", photo(100, 100, 2))
    return tmp_path


def test_dataset_and_prepare_write_the_manifest_and_the_pictures(root):
    dataset.run(root, Quiet())
    prepare.run(root, Quiet())
    assert files_under(root / "build") == [
        "images/a.png.png",
        "images/index.json",
        "images/sub/b.jpg.png",
        "manifest.json",
        "pictures.json",
        "prior/index.json",
    ]
    index = json.loads((root / "build" / "images" / "index.json").read_text())
    manifest = read(root / "build" / "manifest.json")
    assert [image["path"] for image in index["images"]] == [i.path for i in manifest.images]


@pytest.mark.usefixtures("later")
def test_outputs_are_the_same_with_and_without_the_cache(root):
    def outputs() -> dict[str, bytes]:
        dataset.run(root, Quiet())
        prepare.run(root, Quiet())
        build = root / "build"
        return {name: (build / name).read_bytes() for name in files_under(build)}

    cold, warm = outputs(), outputs()
    (root / ".lora" / "pictures" / "my.json").unlink()
    assert cold == warm == outputs()


def test_data_as_pinned_pass_and_changed_data_write_no_manifest(root):
    pin = accept(root, Dataset(**TOY)).hash
    project(root, TOY | {"manifest": pin}, {"resolution": 64})
    dataset.run(root, Quiet())
    for name in ("manifest.json", "pictures.json"):
        (root / "build" / name).unlink()
    put(root / "data" / "my", "new.png", photo(100, 100, 3))
    with pytest.raises(UserError, match=r"added:    new\.png"):
        dataset.run(root, Quiet())
    assert files_under(root / "build") == ["prior/index.json"]


def test_prepare_without_a_list_of_pictures_says_what_to_run(root):
    with pytest.raises(UserError) as caught:
        prepare.run(root, Quiet())
    assert str(caught.value) == (
        "build/pictures.json: is missing\n  fix:     run `dvc repro`, which writes it"
    )


def test_captions_roles_and_repeats_are_nothing_to_prepare(root):
    dataset.run(root, Quiet())
    before = (root / "build" / "pictures.json").read_bytes()
    put(root / "data" / "my", "a.txt", "another caption")
    project(root, TOY | {"heldout": "sub"}, {"resolution": 64})
    manifest = (root / "build" / "manifest.json").read_bytes()
    dataset.run(root, Quiet())
    assert (root / "build" / "manifest.json").read_bytes() != manifest
    assert (root / "build" / "pictures.json").read_bytes() == before
    put(root / "data" / "my", "a.png", photo(100, 100, 9))
    dataset.run(root, Quiet())
    assert (root / "build" / "pictures.json").read_bytes() != before


def test_dataset_and_prepare_say_that_the_data_are_not_here(root):
    dataset.run(root, Quiet())
    (root / "data" / "my").rename(root / "data" / "away")
    (root / "data" / "my.dvc").write_text("outs: []\n")
    with pytest.raises(UserError, match=r"data/my: there is no such folder\n  fix:     put your"):
        prepare.run(root, Quiet())
    with pytest.raises(UserError, match=r"params.yaml:2: data = data/my: the images are not here"):
        dataset.run(root, Quiet())


def test_pictures_are_counted_by_name_and_repeats_without_the_other_roles(root):
    folder = root / "data" / "my"
    for name in ("3_zwk/c.png", "3_zwk/d.webp", "held/e.png", ".hidden.png"):
        put(folder, name, b"not opened")
    put(folder, "notes.txt", "words")
    assert sorted((repeats_by_name(folder, Dataset(heldout="held")) or {}).values()) == [1, 1, 3, 3]


def test_pictures_that_are_not_there_yet_cannot_be_counted(root):
    assert repeats_by_name(root / "data" / "other", Dataset()) is None
