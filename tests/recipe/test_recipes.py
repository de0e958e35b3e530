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
from lora_recipes.recipe.load import load_recipe, recipe_names
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


def test_segmind_dreambooth_has_the_published_defaults():
    recipe = load_recipe(ROOT, "segmind-dreambooth").recipe
    train, adafactor = recipe.train, recipe.train.adafactor
    assert (recipe.prepare.resolution, recipe.prepare.crop) == (1024, "none")
    assert (recipe.lora.rank, recipe.lora.alpha) == (128, 128)
    assert (train.repeats, train.epochs, train.steps) == (80, 1, "auto")
    assert (train.learning_rate, train.scheduler, train.optimizer) == (
        1e-4,
        "constant",
        "adafactor",
    )
    assert (train.gradient_accumulation, train.batch_size, train.weight_decay) == (4, 1, 0.01)
    assert (train.noise_offset, train.max_grad_norm) == (0, 0)
    off = (adafactor.relative_step, adafactor.scale_parameter, adafactor.warmup_init)
    assert off == (False, False, False)
    assert recipe.dataset.manifest == "unpinned"


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
    for section in ("base", "prepare", "encode", "lora", "train", "compute"):
        assert getattr(recipe, section) == getattr(bare, section)


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
