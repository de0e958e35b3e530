"""Layers are merged as OmegaConf merges them, and OmegaConf is asked only for `${…}`."""

from __future__ import annotations

import random
import subprocess
import sys
from typing import Any

from omegaconf import OmegaConf

from lora_recipes.recipe import merge as merging
from lora_recipes.recipe.fields import recipe_keys
from lora_recipes.recipe.merge import merge
from lora_recipes.recipe.structure import Checked
from lora_recipes.recipe.yamlfile import Source

LEAVES = (1, 0.5, "text", True, [1, 2], ["a"], "1e-4", -3)


def tree(chance: random.Random) -> dict[str, Any]:
    """Some of a recipe's keys, each in its place, with any value at all."""
    out: dict[str, Any] = {}
    for key in recipe_keys():
        if chance.random() < 0.3:
            *sections, leaf = key.split(".")
            place = out
            for section in sections:
                place = place.setdefault(section, {})
            place[leaf] = chance.choice(LEAVES)
    return out


def layers(*trees: dict[str, Any]) -> list[Checked]:
    return [Checked(Source(f"recipes/{n}.yaml", data), data) for n, data in enumerate(trees)]


def test_random_layers_merge_as_omegaconf_merges_them():
    chance = random.Random(0)
    for _ in range(50):
        trees = [tree(chance) for _ in range(3)]
        both = OmegaConf.merge(merging._defaults(), *reversed(trees))
        expected = OmegaConf.to_container(both, resolve=False)
        assert merge(layers(*trees)).values == expected


def test_merging_changes_neither_a_layer_nor_the_defaults():
    strong, weak = {"sample": {"seeds": [1]}}, {"sample": {"seeds": [2, 3]}}
    first = merge(layers(strong, weak))
    first.values["sample"]["seeds"].append(4)
    assert (strong, weak) == ({"sample": {"seeds": [1]}}, {"sample": {"seeds": [2, 3]}})
    assert merge(layers(strong, weak)).values["sample"]["seeds"] == [1]
    merge([]).values["sample"]["seeds"].append(5)
    assert 5 not in merge([]).values["sample"]["seeds"]


def test_recipes_without_interpolation_are_read_without_omegaconf():
    """Its import alone would be a quarter of `validate`."""
    code = (
        "import sys; sys.modules['omegaconf'] = None\n"
        "from lora_recipes.cli import main; sys.exit(main(['validate']))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False, text=True)
    assert done.returncode == 0, done.stderr
    assert "params.yaml: valid" in done.stdout
