"""Adapters and recipes of releases that wrote every key out compare with those of today."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from lora_recipes.adapter.metadata import build
from lora_recipes.formats.header import recipe_of
from lora_recipes.pipeline import TRAINED_SECTIONS
from lora_recipes.provenance.difference import compare
from lora_recipes.provenance.trace import trace
from lora_recipes.recipe.identity import present, restored, section_of
from lora_recipes.recipe.model import Recipe
from lora_recipes.recipe.releases import comparable, nested, said
from lora_recipes.recipe.sections.section import Section
from lora_recipes.recipe.sections.train import Train
from lora_recipes.tensors import write_tensors
from tests.provenance.adapters import Trained, adapter

OLD = json.loads(Path(__file__).with_name("old_header.json").read_text("utf-8"))
"""The demo's header as it was before keys could be off."""

STEPS = int(OLD["ss_max_train_steps"])


def sections() -> dict[str, Section]:
    """The recipe behind the old header, read by this release."""
    found = {}
    values = nested(said(leaves(OLD)))
    for name in TRAINED_SECTIONS:
        kind = section_of(Recipe.model_fields[name])
        assert kind is not None
        found[name] = restored(kind, values.get(name, {}))
    return found


def today(**changed: Section) -> dict[str, str]:
    """The header that this release writes for the same recipe."""
    facts = OLD["lora_recipes.base_identity"], OLD["lora_recipes.manifest"]
    return build(sections() | changed, *facts, images=8, steps=STEPS)


def leaves(header: dict[str, str]) -> dict[str, object]:
    found = recipe_of(header)
    return {key: found[key] for key in found if key.partition(".")[0] in TRAINED_SECTIONS}


def test_what_counts_of_an_old_header_is_what_a_new_one_says():
    assert leaves(OLD) != leaves(today())
    assert said(leaves(OLD)) == leaves(today())
    there = {name: keys for name, keys in present(sections()).items() if keys}
    assert nested(said(leaves(OLD))) == there
    assert sections()["dataset"].control == "others", "which was dataset.others"
    assert comparable(leaves(OLD)) == comparable(leaves(today()))


def test_a_key_that_is_not_there_has_its_off_value_and_an_unknown_one_is_kept():
    found = comparable({"train.optimizer": "adamw", "train.of_a_later_release": 3})
    assert found["train.noise_offset"] == 0.0
    assert found["train.of_a_later_release"] == 3
    assert not [key for key in found if key.startswith(("train.adafactor", "lora."))]


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Trained:
    for module in ("sides", "trace"):
        name = f"lora_recipes.provenance.{module}.cache_folder"
        monkeypatch.setattr(name, lambda root: root / ".dvc/cache")
    return Trained(tmp_path / "project")


def test_diff_tells_two_releases_apart_by_what_was_set_alone(project: Trained):
    files = {"old": OLD, "same": today(), "other": today(train=noisy())}
    for name, header in files.items():
        write_tensors(project.root / f"{name}.safetensors", adapter(1.0), header)
    found = compare(project.root, "old.safetensors", "same.safetensors")
    assert found.recipe == ()
    found = compare(project.root, "old.safetensors", "other.safetensors")
    assert found.recipe == (("train.noise_offset", 0.0, 0.25),)


def test_trace_finds_what_todays_release_made_of_an_old_files_recipe(project: Trained):
    project.train(1.0)
    record = project.root / "out/environment.json"
    figures = json.loads(record.read_text())
    figures["recipe_sha256"] = today()["lora_recipes.hash"][7:23]
    record.write_text(json.dumps(figures))
    made = project.commit("trained again by this release")
    file = project.root.parent / "old.safetensors"
    write_tensors(file, adapter(3.0), OLD)
    found = trace(project.root, file)
    assert (found.how, [origin.commit.id for origin in found.origins]) == ("recipe", [made])


def noisy() -> Train:
    train = sections()["train"]
    assert isinstance(train, Train)
    return train.model_copy(update={"noise_offset": 0.25})
