"""Regularization pictures that the base generates, and what the next stages make of them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from lora_recipes.dataset.manifest import read, read_pictures
from lora_recipes.errors import UserError
from lora_recipes.recipe.sections.dataset import Dataset
from lora_recipes.recipe.sections.prepare import Prepare
from lora_recipes.recipe.sections.prior import Prior
from lora_recipes.reporting import Quiet
from lora_recipes.stages import dataset, prepare, prior
from tests.dataset.pictures import files_under, photo, put
from tests.models import tiny_sdxl
from tests.sample.conftest import write_resolved

PROMPTS = ("a photo of a toy", "a {word} toy")
PRIOR = Prior(images=3, prompts=PROMPTS, steps=1, guidance=1.0)


def resolved(root: Path, section: Prior, prompts: tuple[str, ...] = PROMPTS) -> None:
    write_resolved(
        root,
        prior=section,
        prepare=Prepare(resolution=64),
        dataset=Dataset(trigger="zorp", class_word="toy"),
    )
    with (root / "resolved.yaml").open("a") as file:
        file.write(f"prior_prompts: {json.dumps(prompts if section.images else [])}\n")


@pytest.fixture(scope="module")
def generated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("prior")
    tiny_sdxl(root / "model")
    resolved(root, PRIOR)
    prior.run(root, Quiet())
    return root


def entries(root: Path) -> list[dict[str, object]]:
    return json.loads((root / "build/prior/index.json").read_text())["pictures"]


def test_prompts_are_gone_round_each_from_the_next_seed_with_a_word_of_its_own(generated: Path):
    found = entries(generated)
    assert [entry["file"] for entry in found] == ["0000.png", "0001.png", "0002.png"]
    assert [entry["seed"] for entry in found] == [0, 1, 2]
    assert [found[0]["prompt"], found[2]["prompt"]] == ["a photo of a toy"] * 2
    word = str(found[1]["prompt"]).split()[1]
    assert len(word) == 4
    assert found[1]["prompt"] == f"a {word} toy"
    assert {(entry["width"], entry["height"]) for entry in found} == {(64, 64)}
    assert len({entry["sha256"] for entry in found}) == 3


def test_pictures_repeat_and_more_of_them_begin_with_the_same(generated: Path, tmp_path: Path):
    tiny_sdxl(tmp_path / "model")
    resolved(tmp_path, PRIOR.model_copy(update={"images": 4}))
    prior.run(tmp_path, Quiet())
    assert entries(tmp_path)[:3] == entries(generated)


def test_without_pictures_nothing_is_loaded_and_the_folder_says_so(tmp_path, monkeypatch):
    resolved(tmp_path, Prior())  # there is no model
    monkeypatch.setattr(prior, "_generation", None)
    prior.run(tmp_path, Quiet())
    assert files_under(tmp_path / "build") == ["prior/index.json"]
    assert entries(tmp_path) == []


def data_stages(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(root)
    (root / "params.yaml").write_text("recipe: any\ndata: data/my\n")
    put(root / "data/my", "a.png", photo(64, 64, 1))
    dataset.run(root, Quiet())
    prepare.run(root, Quiet())


def test_they_are_prepared_with_the_users_and_no_part_of_the_pin(
    generated: Path, tmp_path: Path, monkeypatch
):
    root = shutil.copytree(generated, tmp_path / "copy")
    data_stages(root, monkeypatch)
    manifest = read(root / "build/manifest.json")
    listed = {image.path: (image.role, image.caption_from) for image in manifest.images}
    assert listed["build/prior/0001.png"] == ("regularization", "generated")
    assert listed["a.png"] == ("train", "template")
    assert len(listed) == len(read_pictures(root / "build/pictures.json")) == 4
    assert "images/build/prior/0002.png.png" in files_under(root / "build")

    resolved(root, Prior())
    prior.run(root, Quiet())
    data_stages(root, monkeypatch)
    without = read(root / "build/manifest.json")
    assert [image.path for image in without.images] == ["a.png"]
    assert without.hash == manifest.hash


def test_a_folder_of_the_users_with_their_paths_is_refused(tmp_path, monkeypatch):
    resolved(tmp_path, PRIOR)
    folder = tmp_path / "build/prior"
    folder.mkdir(parents=True)
    entry = {"file": "0000.png", "prompt": "x", "seed": 0, "sha256": "sha256:0", "width": 64,
             "height": 64}  # fmt: skip
    (folder / "index.json").write_text(json.dumps({"pictures": [entry]}))
    put(tmp_path / "data/my", "build/prior/0000.png", photo(64, 64, 2))
    with pytest.raises(UserError) as caught:
        data_stages(tmp_path, monkeypatch)
    assert str(caught.value) == (
        "data/my: 1 picture in build/prior, which is what the pictures that prior.images generates "
        "are called\n  fix:     rename the folder build/prior in the data folder"
    )


def test_a_folder_that_was_tampered_with_is_named(tmp_path, monkeypatch):
    resolved(tmp_path, PRIOR)
    with pytest.raises(UserError, match=r"build/prior/index\.json: is missing"):
        data_stages(tmp_path, monkeypatch)


def test_a_sampler_that_cannot_draw_so_is_told_before_any_model_is_loaded(tmp_path, monkeypatch):
    tiny_sdxl(tmp_path / "model")
    resolved(tmp_path, PRIOR)
    monkeypatch.setattr("lora_recipes.generate.try_sampler.ANSWER", float("nan"))
    with pytest.raises(UserError) as caught:
        prior.run(tmp_path, Quiet())
    (problem,) = caught.value.problems
    assert "cannot draw in prior.steps = 1: " in problem.what
    assert problem.fix == (
        "set prior.steps to another number such as 25, or prior.images to 0, or choose another "
        "base.model"
    )
