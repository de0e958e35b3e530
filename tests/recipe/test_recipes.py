"""What ships: recipes, params.yaml, and the files generated from the schema."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from ruamel.yaml import YAML

from lora_recipes.plan.memory import ACTIVATIONS, estimate
from lora_recipes.plan.shapes import adapted_shapes, unet_config, weights_per_rank
from lora_recipes.recipe import reference
from lora_recipes.recipe.fields import overridable_keys, runtime_keys
from lora_recipes.recipe.layers import recipe_names
from lora_recipes.recipe.load import load_recipe
from lora_recipes.recipe.model import Recipe
from lora_recipes.recipe.resolved import read_section
from lora_recipes.recipe.sections.train import Train

ROOT = Path(__file__).parent.parent.parent
NAMES = recipe_names(ROOT)
FILES = [ROOT / "params.yaml", *sorted((ROOT / "recipes").glob("*.yaml"))]


def _ruamel(text: str) -> object:
    return YAML(typ="safe", pure=True).load(text)


def test_these_recipes_ship():
    assert {
        "adafactor-relative",
        "low-vram",
        "object-diffusers",
        "pocket-demo",
        "pocket-tryout",
        "product-clothing",
        "quick-cog",
        "segmind-dreambooth",
    } <= set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_a_shipped_recipe_is_valid_without_a_warning(name):
    load_recipe(ROOT, name, strict=True)


@pytest.mark.parametrize("name", NAMES)
def test_a_shipped_recipe_names_its_schema_and_its_source(name):
    text = (ROOT / "recipes" / f"{name}.yaml").read_text("utf-8")
    assert text.startswith("# yaml-language-server: $schema=schema.json\n")
    description = load_recipe(ROOT, name).recipe.description
    assert "Source: " in description
    assert ("# assumed" in text) == ("Assumed" in description)


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_both_yaml_parsers_read_a_shipped_file_alike(file):
    text = file.read_text("utf-8")
    assert _ruamel(text) == yaml.safe_load(text)


def test_data_is_pinned_by_the_demo_and_what_extends_it_alone():
    pinned = [
        name for name in NAMES if load_recipe(ROOT, name).recipe.dataset.manifest != "unpinned"
    ]
    assert pinned == ["pocket-demo", "pocket-demo-prior"]


def test_pocket_tryout_trains_as_the_demo_does_but_on_any_pictures_and_for_so_many_steps():
    demo, tryout = (load_recipe(ROOT, name).recipe for name in ("pocket-demo", "pocket-tryout"))
    for section in ("base", "encode", "lora", "compute"):
        assert getattr(tryout, section) == getattr(demo, section)
    assert (tryout.prepare.resolution, tryout.prepare.crop, tryout.prepare.upscale) == (
        demo.prepare.resolution,
        "center",
        True,
    )
    length = {"repeats": 1, "epochs": "auto", "steps": 400}
    assert tryout.train == demo.train.model_copy(update=length)
    assert tryout.dataset == Recipe(schema=1, name="x", version=1, description="x").dataset


def test_low_vram_trains_sdxl_at_1024_unquantised_in_less_than_a_card_of_8_gb_has():
    recipe = load_recipe(ROOT, "low-vram").recipe
    assert (recipe.prepare.resolution, recipe.lora.rank) == (1024, 32)
    assert (recipe.compute.precision, recipe.train.optimizer) == ("bf16", "adafactor")
    shapes = adapted_shapes(unet_config(recipe.base.model, ROOT), recipe.lora.targets)
    memory = estimate(recipe, 32 * weights_per_rank(shapes))
    assert 5.6 < memory.total / 2**30 < 5.7, "as its description says"
    assert memory.total < 6.5 * 2**30


def test_the_memory_that_plan_tells_is_what_the_ceilings_of_a_step_hold():
    ceilings = json.loads((ROOT / "benchmarks/ceilings.json").read_text("utf-8"))
    held = {
        False: ceilings["1024, batch 1, rank 32, attention, adafactor"]["peak_GiB"],
        True: ceilings["the same, checkpointed"]["peak_GiB"],
        "feed_forward": ceilings["the same, feed-forward layers checkpointed"]["peak_GiB"],
    }
    for checkpointing, size in held.items():
        told = ACTIVATIONS["attention", checkpointing]
        assert told / 2**30 == pytest.approx(size, rel=0.01)


def test_what_segmind_dreambooth_trains_are_the_defaults_of_the_schema():
    recipe = load_recipe(ROOT, "segmind-dreambooth").recipe
    bare = Recipe(schema=1, name="x", version=1, description="x")
    for section in ("base", "prepare", "encode", "lora", "compute"):
        assert getattr(recipe, section) == getattr(bare, section)
    assert recipe.train.model_copy(update={"snapshots": ()}) == bare.train


def test_params_yaml_lists_every_overridable_key_and_no_other():
    params = yaml.safe_load((ROOT / "params.yaml").read_text("utf-8"))
    assert list(params)[:2] == ["recipe", "data"]
    sections = {name: value for name, value in params.items() if name not in ("recipe", "data")}
    assert list(_dotted(sections, "")) == [*overridable_keys(), *runtime_keys()]
    values = {key: _at(sections, key) for key in overridable_keys()}
    assert {key: value for key, value in values.items() if value is not None} == {}


def _at(tree: Any, key: str) -> Any:
    for part in key.split("."):
        tree = tree[part]
    return tree


def test_what_is_generated_from_the_schema_is_fresh():
    assert reference.stale(ROOT) == [], "run python -m lora_recipes.recipe.reference"


def test_a_missing_or_edited_file_is_stale(tmp_path):
    assert reference.stale(tmp_path) == [reference.PAGE, reference.SCHEMA, reference.DVC]
    reference.write(tmp_path)
    assert reference.stale(tmp_path) == []
    (tmp_path / reference.PAGE).write_text("edited", "utf-8")
    assert reference.stale(tmp_path) == [reference.PAGE]


def test_stale_files_fail_the_check(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(
        SystemExit, match=r"stale: docs/reference.md, recipes/schema.json, dvc.yaml; run "
    ):
        reference.main(["--check"])
    reference.main([])
    reference.main(["--check"])


def test_the_schema_admits_interpolation_where_a_number_stands():
    rank = json.loads(reference.schema())["$defs"]["Lora"]["properties"]["rank"]
    assert rank["anyOf"][0] == {"maximum": 1024, "minimum": 1, "type": "integer"}
    assert rank["anyOf"][1] == {"pattern": "\\$\\{", "type": "string"}


def test_the_page_names_every_key_and_rule():
    from lora_recipes.recipe.rules import RULES

    page = reference.page()
    for name in [*overridable_keys(), *runtime_keys()]:
        assert f"#### `{name}`" in page
    for rule in RULES:
        assert f"#### {rule.id}\n\n{rule.text}" in page


def test_a_section_that_another_version_wrote_is_told(tmp_path):
    from lora_recipes.errors import UserError

    with pytest.raises(UserError) as missing:
        read_section(tmp_path, "train", Train)
    assert str(missing.value) == (
        "resolved.yaml: is missing\n  fix:     run `dvc repro`, which makes it first"
    )
    (tmp_path / "resolved.yaml").write_text("train: {epoch: 1}\n", "utf-8")
    with pytest.raises(UserError) as other:
        read_section(tmp_path, "train", Train)
    assert str(other.value) == (
        "resolved.yaml: train.epoch is not what this version writes\n"
        "  fix:     do not edit this file; run `dvc repro`, which writes it anew"
    )


def _dotted(tree, prefix):
    for name, value in tree.items():
        if isinstance(value, dict):
            yield from _dotted(value, f"{prefix}{name}.")
        else:
            yield prefix + name
