"""The sections: closed, immutable, strict, documented."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from lora_recipes.recipe.fields import overridable_keys, recipe_keys, runtime_keys
from lora_recipes.recipe.sections.kinds import Advised
from lora_recipes.recipe.sections.lora import Lora
from lora_recipes.recipe.sections.optimizers import AdafactorSettings
from lora_recipes.recipe.sections.prepare import Prepare
from lora_recipes.recipe.sections.sample import Sample
from lora_recipes.recipe.sections.train import Train

KEYS = list((recipe_keys() | runtime_keys()).values())


def test_a_number_may_be_written_without_a_point():
    assert Lora(alpha=64).alpha == 64.0
    assert isinstance(Lora(alpha=64).alpha, float)


@pytest.mark.parametrize(
    ("section", "values"),
    [
        (Lora, {"rank": True}),
        (Lora, {"rank": "8"}),
        (Lora, {"rank": 8.0}),
        (Lora, {"alpha": True}),
        (Lora, {"alpha": "8"}),
        (Lora, {"alpha": float("inf")}),
        (Lora, {"alpha": 0}),
        (Lora, {"rnak": 8}),
        (Train, {"learning_rate": float("nan")}),
        (Train, {"learning_rate": -1e-4}),
        (Train, {"learning_rate": 1e6}),
        (Train, {"learning_rate": "Auto"}),
        (Train, {"epochs": 0}),
        (Train, {"snapshots": [1.0]}),
        (Train, {"snapshots": 0.5}),
        (Prepare, {"resolution": 1020}),
        (Prepare, {"resolution": [1024, 1020]}),
        (Prepare, {"resolution": [1024]}),
        (Prepare, {"upscale": 1}),
        (Sample, {"prompts": "one"}),
        (Sample, {"prompts": [""]}),
        (Sample, {"seeds": []}),
    ],
)
def test_a_value_of_another_kind_is_refused(section, values):
    with pytest.raises(ValidationError):
        section(**values)


def test_a_section_cannot_be_changed():
    with pytest.raises(ValidationError, match="frozen"):
        Lora().rank = 4


def test_lists_are_kept_as_tuples_and_written_as_lists():
    prepare = Prepare(resolution=[832, 1216])
    assert prepare.resolution == (832, 1216)
    assert prepare.model_dump(mode="json")["resolution"] == [832, 1216]
    assert AdafactorSettings(eps=[1e-20, 0.001]).eps == (1e-20, 0.001)


def test_the_advised_range_admits_its_ends_and_what_is_fine_too():
    advised = Advised(0.5, 2, also=(0,))
    assert [value for value in (0, 0.1, 0.5, 2, 2.1) if advised.admits(value)] == [0, 0.5, 2]
    assert str(advised) == "0 or 0.5 to 2"


@pytest.mark.parametrize("key", KEYS, ids=lambda key: key.name)
def test_every_key_says_what_it_means_and_from_where(key):
    assert key.text.partition("\n\n")[0].endswith(".")
    assert "Source: " in key.text


@pytest.mark.parametrize(
    "key",
    [key for key in KEYS if " number" in key.allowed and "seed" not in key.name],
    ids=lambda key: key.name,
)
def test_every_number_says_what_raising_and_lowering_it_does(key):
    if key.name != "train.snapshots":
        assert "Higher" in key.text
        assert "Lower" in key.text


@pytest.mark.parametrize(
    "key", [key for key in KEYS if "seed" in key.name], ids=lambda key: key.name
)
def test_every_seed_says_what_another_number_does(key):
    assert "Another number" in key.text or "each picture's noise" in key.text


def test_what_is_advised_is_allowed_and_admits_the_default():
    advised = [key for key in overridable_keys().values() if key.advised is not None]
    assert len(advised) > 5
    for key in advised:
        assert key.advised.admits(key.default), key.name
