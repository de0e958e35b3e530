"""Merging recipes and params.yaml, and where each value comes from."""

from __future__ import annotations

import pytest

from lora_recipes.errors import UserError
from lora_recipes.recipe.fields import recipe_keys
from lora_recipes.recipe.layers import recipe_names
from lora_recipes.recipe.load import load_recipe, resolve, validate_recipe
from lora_recipes.recipe.model import Recipe, plain
from lora_recipes.recipe.sections.compute import Compute
from lora_recipes.recipe.sections.train import Train
from tests.recipe.conftest import message, text


def test_a_recipe_that_says_nothing_has_every_default(project):
    recipe = load_recipe(project.root, "mine").recipe
    bare = Recipe(schema=1, name="mine", version=1, description="a test")
    assert recipe == bare


def test_a_recipe_takes_from_its_parents_what_it_does_not_say(project):
    project.recipe("lora: {rank: 64, alpha: 3}\ntrain: {seed: 1}\n", "old")
    project.recipe("extends: old\nlora: {rank: 32}\n", "middle")
    project.recipe("extends: middle\ntrain: {repeats: 40}\n", "young")
    recipe = load_recipe(project.root, "young").recipe
    assert (recipe.name, recipe.lora.rank, recipe.lora.alpha) == ("young", 32, 3.0)
    assert (recipe.train.repeats, recipe.train.seed) == (40, 1)


def test_a_list_replaces_the_parents_list(project):
    project.recipe("sample: {seeds: [1, 2, 3]}\n", "old")
    project.recipe("extends: old\nsample: {seeds: [4]}\n", "young")
    assert load_recipe(project.root, "young").recipe.sample.seeds == (4,)


def test_params_count_more_than_the_recipe_and_null_means_the_recipes_own(project):
    project.recipe("lora: {rank: 64, alpha: 3}\ntrain: {repeats: 40}\n")
    project.params("lora: {rank: 8, alpha: null}\ntrain: null\nruntime: {workers: 2}\n")
    resolved = resolve(project.root)
    assert (resolved.recipe.lora.rank, resolved.recipe.lora.alpha) == (8, 3.0)
    assert resolved.recipe.train.repeats == 40
    assert resolved.params.runtime.workers == 2
    assert (resolved.params.recipe, resolved.params.data) == ("mine", "data")


def test_none_in_params_takes_a_value_away_and_null_keeps_it(project):
    project.recipe("dataset: {trigger: zwk}\n")
    project.params("dataset: {trigger: null}\n")
    assert resolve(project.root).recipe.dataset.trigger == "zwk"
    project.params("dataset: {trigger: none}\n")
    assert resolve(project.root).recipe.dataset.trigger == "none"


def test_what_is_overridden_is_listed_with_the_recipes_own_value(project):
    project.recipe("lora: {rank: 64, alpha: '${lora.rank}'}\n")
    project.params("lora: {rank: 8}\ntrain: {seed: 0, repeats: 50}\nprepare: {crop: center}\n")
    assert resolve(project.root).overridden == {
        "prepare.crop": "none",
        "lora.rank": 64,
        "lora.alpha": 64,
        "train.repeats": 80,
    }


def test_a_key_can_take_its_value_from_another_even_if_that_is_a_default(project):
    project.recipe("lora: {alpha: '${lora.rank}'}\nsample: {seeds: [7, '${train.seed}']}\n")
    project.params("train: {seed: 3, warmup_steps: '${train.seed}', scheduler: linear}\n")
    recipe = resolve(project.root).recipe
    assert (recipe.lora.alpha, recipe.sample.seeds, recipe.train.warmup_steps) == (128.0, (7, 3), 3)


def test_an_escaped_interpolation_is_text(project):
    project.recipe("dataset: {trigger: 'a \\${sign} for $5'}\n")
    assert load_recipe(project.root, "mine").recipe.dataset.trigger == "a ${sign} for $5"


def test_the_environment_is_read_under_runtime_only(project, monkeypatch):
    monkeypatch.setenv("WORKERS_HERE", "3")
    project.params("runtime: {workers: '${oc.decode:${oc.env:WORKERS_HERE}}'}\n")
    assert resolve(project.root).params.runtime.workers == 3


def test_no_omegaconf_object_leaves_the_loader(project):
    project.recipe("sample: {prompts: [x], seeds: [1]}\nprepare: {resolution: [64, 128]}\n")
    project.params("sample: {seeds: ['${train.seed}']}\n")
    resolved = resolve(project.root)
    seen: list[object] = [plain(resolved.recipe), resolved.overridden]
    for value in seen:
        assert "omegaconf" not in type(value).__module__
        if isinstance(value, dict):
            seen.extend(value.values())
        elif isinstance(value, (list, tuple)):
            seen.extend(value)
    assert len(seen) > 50


def test_every_value_knows_the_line_that_set_it(project):
    project.recipe("lora:\n  rank: 64\n  alpha: 3\n", "old")
    project.recipe("extends: old\nlora:\n  rank: 32\n")
    project.params("train:\n  seed: 4\n  repeats: null\n")
    where = resolve(project.root).where
    assert str(where("train.seed")) == "params.yaml:4"
    assert str(where("lora.rank")) == "recipes/mine.yaml:7"
    assert str(where("lora.alpha")) == "recipes/old.yaml:7"
    assert str(where("train.repeats")) == "recipes/mine.yaml"


def test_recipes_are_listed_by_name(project):
    project.recipe("", "another")
    project.file("recipes/schema.json", "{}")
    assert recipe_names(project.root) == ["another", "mine"]


def test_all_problems_are_told_at_once_in_file_order(project):
    project.recipe("lora: {rnk: 4}\ntrain:\n  epochs: two\n", "old")
    project.recipe("extends: old\nlora:\n  rank: 0\ncompute: fast\n")
    project.params(
        "train:\n  noise_ofset: 0.05\n  learning_rate: 1000000\n  optimizer: adamW\n"
        "runtime:\n  progress: loud\n"
    )
    keys = ", ".join(Train.model_fields)
    assert message(lambda: resolve(project.root)) == text(
        f"""
        params.yaml:4: train.noise_ofset is not a key
          allowed: one of {keys}
          fix:     did you mean noise_offset?
        params.yaml:5: train.learning_rate = 1000000
          allowed: a number above 0 up to 0.1, or auto
          fix:     choose a value in that range; the default is 0.0001
        params.yaml:6: train.optimizer = adamW
          allowed: adafactor or adamw
          fix:     did you mean adamw?
        params.yaml:8: runtime.progress = loud
          allowed: auto, bar, plain or off
          fix:     choose what is allowed; the default is auto
        recipes/mine.yaml:7: lora.rank = 0
          allowed: a whole number from 1 to 1,024
          fix:     choose a value in that range; the default is 128
        recipes/mine.yaml:8: compute is a text
          allowed: a mapping with {", ".join(Compute.model_fields)}
          fix:     write the keys of compute on indented lines under it
        recipes/old.yaml:5: lora.rnk is not a key
          allowed: one of rank, alpha, targets
          fix:     did you mean rank?
        recipes/old.yaml:7: train.epochs = two
          allowed: a whole number from 1 to 100,000, or auto
          fix:     choose what is allowed; the default is 1
        """
    )


@pytest.mark.parametrize(
    ("section", "word", "fix"),
    [
        ("lora", "network_dim", "did you mean rank?"),
        ("lora", "network_alpha", "did you mean alpha?"),
        ("train", "unet_lr", "did you mean learning_rate?"),
        ("train", "lr_scheduler", "did you mean scheduler?"),
        ("train", "max_train_steps", "did you mean steps?"),
        ("train", "train_batch_size", "did you mean batch_size?"),
        ("train", "network_dim", "write rank under lora:"),
        ("train", "mixed_precision", "write precision under compute:"),
        ("train", "instance_prompt", "write template under dataset:"),
        ("train", "rank", "write it under lora:"),
    ],
)
def test_words_of_other_trainers_lead_to_ours(project, section, word, fix):
    project.params(f"{section}: {{{word}: 16}}\n")
    told = message(lambda: resolve(project.root))
    assert told.splitlines()[0] == f"params.yaml:3: {section}.{word} is not a key"
    assert told.splitlines()[2] == f"  fix:     {fix}"


def test_rules_are_checked_beside_wrong_values_but_not_about_them(project):
    project.params("train: {epochs: 0, steps: 5, power: 2}\nlora: {rank: 0}\n")
    told = message(lambda: resolve(project.root))
    assert "train.power = 2.0 beside train.scheduler = constant" in told
    assert "train.steps" not in told


def test_warnings_are_errors_when_strict(project):
    project.recipe("lora: {rank: 256}\n")
    [warning] = validate_recipe(project.root, "mine")
    assert str(warning) == text(
        """
        recipes/mine.yaml:5: lora.rank = 256
          allowed: 4 to 128 is advised
          fix:     choose a value in that range, unless you know better; the default is 128
        """
    )
    assert resolve(project.root).warnings == (warning,)
    assert message(lambda: load_recipe(project.root, "mine", strict=True)) == str(warning)
    assert message(lambda: resolve(project.root, strict=True)) == str(warning)


def test_repeats_are_not_advised_where_steps_give_the_length(project):
    project.recipe("train: {repeats: 1}\n")
    assert [w.what for w in validate_recipe(project.root, "mine")] == ["train.repeats = 1"]
    project.recipe("train: {repeats: 1, epochs: auto, steps: 10}\n")
    assert validate_recipe(project.root, "mine") == []


def test_a_missing_recipe_is_told_with_what_was_probably_meant(project):
    project.recipe("", "segmind-dreambooth")
    project.params("", recipe="segmind-dreamboth")
    assert message(lambda: resolve(project.root)) == text(
        """
        params.yaml:1: recipe = segmind-dreamboth
          allowed: one of mine, segmind-dreambooth
          fix:     did you mean segmind-dreambooth?
        """
    )
    assert message(lambda: load_recipe(project.root, "../params")) == text(
        """
        there is no recipe ../params
          allowed: one of mine, segmind-dreambooth
          fix:     choose one of these, or write recipes/../params.yaml
        """
    )


def test_a_missing_parent_is_told_where_it_is_named(project):
    project.recipe("", "base-recipe")
    project.recipe("extends: base_recipe\n")
    assert message(lambda: load_recipe(project.root, "mine")) == text(
        """
        recipes/mine.yaml:5: extends = base_recipe
          allowed: one of base-recipe, mine
          fix:     did you mean base-recipe?
        """
    )


def test_recipes_that_extend_one_another_in_a_ring_are_told(project):
    project.recipe("extends: b\n", "a")
    project.recipe("extends: c\n", "b")
    project.recipe("extends: b\n", "c")
    assert message(lambda: load_recipe(project.root, "a")) == text(
        """
        recipes/c.yaml:5: extends = b closes a ring: b → c → b
          allowed: a recipe that does not extend this one, directly or through others
          fix:     remove one of these `extends`
        """
    )


def test_the_problems_of_params_are_told_beside_a_missing_recipe(project):
    project.params("lora: {rnk: 1}\nruntime: {workers: -1}\n", recipe="other")
    assert message(lambda: resolve(project.root)).count("\n  fix: ") == 3


@pytest.mark.parametrize("key", ["recipe", "data"])
@pytest.mark.parametrize("value", ["null", "3", "'${lora.rank}'", "''"])
def test_params_have_to_name_recipe_and_data(project, key, value):
    given = {"recipe": "mine", "data": "data"} | {key: value}
    project.file("params.yaml", "".join(f"{name}: {v}\n" for name, v in given.items()))
    with pytest.raises(UserError) as caught:
        resolve(project.root)
    [problem] = caught.value.problems
    assert problem.what.startswith(f"{key} ")
    assert problem.fix.startswith("write, for example, `")


def test_each_recipe_says_its_own_head(project):
    project.file("recipes/mine.yaml", "name: yours\n")
    assert message(lambda: load_recipe(project.root, "mine")) == text(
        """
        recipes/mine.yaml: schema is missing
          allowed: 1
          fix:     add the line `schema: 1`
        recipes/mine.yaml: version is missing
          allowed: a whole number from 1 to 1,000,000
          fix:     add the line `version: 1`
        recipes/mine.yaml: description is missing
          allowed: a text
          fix:     add the line `description: what it is for`
        recipes/mine.yaml:1: name = yours
          allowed: mine, as the file is called
          fix:     write `name: mine`, or rename the file
        """
    )


def test_the_head_of_a_recipe_cannot_be_overridden(project):
    project.params("description: another\n")
    assert message(lambda: resolve(project.root)).startswith(
        "params.yaml:3: description is not a key\n  allowed: one of recipe, data, base, "
    )


def test_every_key_of_a_recipe_can_be_written_and_read_back(project):
    project.recipe()
    first = load_recipe(project.root, "mine").recipe
    values = plain(first)
    assert len(recipe_keys()) > 50
    assert Recipe.model_validate(values) == first


def test_processes_that_cannot_share_a_step_are_found_with_the_rest(project):
    project.params("runtime:\n  workers: -1\n  processes: 3\nlora: {rnk: 1}\n")
    project.recipe("train: {gradient_accumulation: 4}\n")
    assert "runtime.processes" not in message(lambda: resolve(project.root)), "one at a time"
    project.params("runtime:\n  processes: 3\nlora: {rank: 4}\n")
    assert message(lambda: resolve(project.root)) == (
        "params.yaml:4: runtime.processes = 3 beside train.gradient_accumulation = 4\n"
        "  allowed: 1, 2 or 4 in all, so that each takes an equal part of a step's micro-batches\n"
        "  fix:     choose one of these, or a train.gradient_accumulation that 3 divides (which "
        "changes the adapter)"
    )
    project.params("runtime:\n  nodes: 2\n  processes: 2\n")
    assert resolve(project.root).params.runtime.processes == 2
