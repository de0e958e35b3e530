"""A key that is off is not there, for good: so new keys move nobody's adapter."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import pytest
from pydantic import Field, ValidationError
from pydantic.fields import FieldInfo

from lora_recipes.hashing import digest
from lora_recipes.recipe.fields import Key, every_key, overridable_keys, plain_value
from lora_recipes.recipe.identity import is_off, present, restored
from lora_recipes.recipe.layers import recipe_names
from lora_recipes.recipe.load import load_recipe
from lora_recipes.recipe.model import SECTIONS, Recipe, plain
from lora_recipes.recipe.sections.dataset import Dataset
from lora_recipes.recipe.sections.lora import Lora
from lora_recipes.recipe.sections.prepare import Prepare
from lora_recipes.recipe.sections.runtime import Runtime
from lora_recipes.recipe.sections.sample import Sample
from lora_recipes.recipe.sections.section import (
    BelongsTo,
    Off,
    Section,
    first_of,
    section_of,
)
from lora_recipes.recipe.sections.train import Train
from lora_recipes.tree import lookup
from tests.recipe.keys import HEADER, OFF

ROOT = Path(__file__).parent.parent.parent


def sections(recipe: Recipe) -> dict[str, Section]:
    return {name: getattr(recipe, name) for name in SECTIONS}


def test_off_values_are_frozen():
    now = {name: key.off.value for name, key in overridable_keys().items() if key.off is not None}
    assert {name: repr(value) for name, value in now.items()} == {
        name: repr(value) for name, value in OFF.items()
    }


def test_the_fields_of_a_header_are_frozen():
    now = {name: key.header for name, key in every_key().items()}
    assert {name: fields for name, fields in now.items() if fields} == HEADER


@pytest.mark.parametrize("name", OFF)
def test_an_off_value_is_allowed(name):
    section, *path = name.split(".")
    value: Any = plain_value(OFF[name])
    for part in reversed(path):
        value = {part: value}
    annotation: Any = Recipe.model_fields[section].annotation
    made: Any = annotation(**value)
    for part in path:
        made = getattr(made, part)
    assert made == OFF[name]


def unreadable(keys: Mapping[str, Key], fields: Iterable[FieldInfo]) -> Iterator[str]:
    """What is declared so that nobody could tell which value a key has that is not there."""
    for key in keys.values():
        owners = [owner for owner in key.belongs_to if owner.position is None]
        if owners and key.off is not None and not is_off(key.default, key.off):
            yield f"{key.name} belongs to another key and is off, but not by default"
        for owner in owners:
            above = keys[owner.key]
            if above.belongs_to and owner.met_by(above.default):
                yield f"{key.name} would be there without {owner.key}, which it belongs to"
    for info in fields:
        for kind in (BelongsTo, Off):
            if sum(isinstance(item, kind) for item in info.metadata) > 1:
                yield f"two declarations of {kind.__name__} on one field"


def every_field(section: type[Section]) -> Iterator[FieldInfo]:
    for info in section.model_fields.values():
        inner = section_of(info)
        yield info
        if inner is not None:
            yield from every_field(inner)


def test_what_is_not_there_has_one_value():
    assert sum(bool(key.belongs_to) for key in every_key().values()) > 5
    assert [*unreadable(every_key(), every_field(Recipe))] == []


def test_a_declaration_that_could_be_read_in_two_ways_is_found():
    one = every_key()["train.power"]
    off_later = replace(one, off=Off(2.0))
    assert any("not by default" in text for text in unreadable(every_key() | {"x": off_later}, []))
    chained = replace(one, name="x", belongs_to=(BelongsTo("train.restarts", values=(1,)),))
    assert any("would be there" in text for text in unreadable(every_key() | {"x": chained}, []))
    twice = FieldInfo(annotation=int)
    twice.metadata = [Off(1), Off(2)]
    assert [*unreadable({}, [twice])] == ["two declarations of Off on one field"]


def test_runtime_is_no_part_of_it():
    assert not any(first_of(info, Off) for info in Runtime.model_fields.values())


NAMES = recipe_names(ROOT)


@pytest.mark.parametrize("name", NAMES)
def test_a_shipped_recipe_comes_back_from_what_is_there(name):
    own = sections(load_recipe(ROOT, name).recipe)
    there = present(own)
    assert {name: restored(type(own[name]), there[name]) for name in own} == own


def drawn(chance: random.Random) -> Recipe:
    """A recipe that keeps to the rules of `BelongsTo`, with other values than the defaults."""
    tree: dict[str, Any] = {"schema": 1, "name": "x", "version": 1, "description": "x"}
    choices: dict[str, list[Any]] = {
        "base.vae": ["base", "some/vae"], "base.vae_revision": ["none", "a" * 40],
        "base.tokenizer": ["base", "some/words"], "dataset.trigger": ["none", "zwk"],
        "dataset.heldout": ["none", "held"], "prepare.upscale": [True, False],
        "dataset.caption.shuffle": [False, True], "dataset.caption.tag_dropout": [0, 0.25],
        "dataset.caption.keep_tokens": [0, 2], "dataset.caption.variants": [8, 3],
        "dataset.caption.keep_tokens_separator": ["none", "|||"],
        "dataset.caption.prefix": ["none", "zwk,"], "dataset.caption.seed": [0, 4],
        "encode.max_tokens": [77, 150, 225], "train.caption_dropout": [0, 0.1],
        "prepare.crop": ["none", "center", "random"], "prepare.seed": [0, 5],
        "train.scheduler": ["constant", "linear", "cosine_with_restarts", "polynomial"],
        "train.warmup_steps": [0, 7], "train.restarts": [1, 3], "train.power": [1.0, 2.0],
        "train.weight_decay": [0, 0.01, 0.5], "train.max_grad_norm": [0, 1],
        "train.noise_offset": [0, 0.0, 0.1], "train.snapshots": [[], [0.5]],
        "train.optimizer": ["adafactor", "adamw"], "train.adamw.beta1": [0.9, 0.5],
        "train.adafactor.relative_step": [False, True], "train.adafactor.beta1": ["none", 0.9],
        "train.adafactor.warmup_init": [False, True], "train.adafactor.eps": [[1e-20, 1e-3]],
        "train.adafactor.clip_threshold": [1.0, 2.0], "sample.guidance": [1, 5.0],
        "sample.negative_prompt": ["", "red"], "sample.size": ["auto", [64, 128]],
        "compute.adapter_precision": ["fp32", "base"],
        "compute.gradient_checkpointing": [False, True, "feed_forward"],
    }  # fmt: skip
    for name, values in choices.items():
        if chance.random() < 0.7:
            *path, leaf = name.split(".")
            place = tree
            for part in path:
                place = place.setdefault(part, {})
            place[leaf] = chance.choice(values)
    return _kept_to_rules(tree)


def _kept_to_rules(tree: dict[str, Any]) -> Recipe:
    """The recipe without the settings that belong to something that was not drawn."""
    full = plain(Recipe.model_validate(tree))
    for key in overridable_keys().values():
        for owner in key.belongs_to:
            met = owner.met_in(lambda name: lookup(full, name.split(".")))
            if owner.position is None and not met:
                *path, leaf = key.name.split(".")
                place = full
                for part in path:
                    place = place[part]
                place[leaf] = key.default
    return Recipe.model_validate(full)


def test_drawn_recipes_come_back_from_what_is_there():
    chance = random.Random(0)
    left_out = set()
    for _ in range(300):
        own = sections(drawn(chance))
        there = present(own)
        assert {name: restored(type(own[name]), there[name]) for name in own} == own
        assert "adafactor" not in there["train"] or "adamw" not in there["train"]
        left_out |= {key for key in OFF if not _holds(there, key)}
    assert left_out == set(OFF), "each was off at least once"


def _holds(there: Any, key: str) -> bool:
    for part in key.split("."):
        if part not in there:
            return False
        there = there[part]
    return True


def test_a_key_is_there_unless_it_is_off_or_belongs_to_what_was_not_chosen():
    there = present({"train": Train(power=1.0), "prepare": Prepare(), "sample": Sample(guidance=1)})
    assert not {"power", "restarts", "warmup_steps", "adamw", "noise_offset"} & set(there["train"])
    assert {"weight_decay", "seed", "adafactor"} <= set(there["train"])
    assert "seed" not in there["prepare"]
    assert "negative_prompt" not in there["sample"]

    train = Train(scheduler="polynomial", optimizer="adamw", noise_offset=0.1, warmup_steps=2)
    chosen = present({"train": train, "prepare": Prepare(crop="random")})
    assert {"power", "warmup_steps", "adamw", "noise_offset"} <= set(chosen["train"])
    assert "adafactor" not in chosen["train"]
    assert chosen["prepare"]["seed"] == 0, "a seed is never off"


@pytest.mark.parametrize(
    ("caption", "there"),
    [
        ({}, set()),
        ({"prefix": "zwk,"}, {"prefix"}),
        ({"shuffle": True}, {"shuffle", "separator", "variants", "seed"}),
        ({"tag_dropout": 0.1}, {"tag_dropout", "separator", "variants", "seed"}),
    ],
)
def test_a_key_that_belongs_to_either_of_two_is_there_with_one_of_them(caption, there):
    own = {"dataset": Dataset(caption=caption)}
    found = present(own)
    assert set(found["dataset"].get("caption", {})) == there
    assert restored(Dataset, found["dataset"]) == own["dataset"]


def test_one_item_that_belongs_to_another_key_keeps_its_list():
    assert present({"train": Train()})["train"]["adafactor"]["eps"] == [1e-30, 1e-3]


@pytest.mark.parametrize("value", [0, 0.0])
def test_zero_is_off_however_it_is_written(value):
    assert "noise_offset" not in present({"train": Train(noise_offset=value)})["train"]
    assert is_off(0, Off(0.0))
    assert not is_off(0, Off(False))
    assert is_off([], Off(()))


def test_a_key_that_is_always_there_and_is_missing_is_named():
    with pytest.raises(ValidationError, match="rank"):
        restored(Lora, {"alpha": 1.0, "targets": "attention"})


class Inner(Section):
    """A sub-section that can be off whole."""

    strength: Annotated[float, Off(0.0)] = 0.0
    """How much."""


class Older(Section):
    """A section as it was released."""

    rate: Annotated[float, Field(gt=0)] = 1.0
    """How fast."""

    way: str = "plain"
    """How."""


class Newer(Older):
    """The same section with keys that came later."""

    weighting: Annotated[str, Off("none")] = "min_snr"
    """A key that the new release switches on by default."""

    gamma: Annotated[float, BelongsTo("part.weighting", ("min_snr",))] = 5.0
    """A key that means nothing without the other."""

    bound: Annotated[float, BelongsTo("part.rate", above=1)] = 2.0
    """A key that means nothing at a low rate."""

    deep: Annotated[float, Off(0.0), BelongsTo("part.way", but=("plain",))] = 0.0
    """A key that any other way has."""

    inner: Inner = Inner()
    """A sub-section."""


def test_a_missing_key_means_off_even_where_its_default_is_another():
    assert Newer().weighting == "min_snr"
    assert restored(Newer, {"rate": 1.0, "way": "plain"}).weighting == "none"


def test_a_new_key_that_is_off_changes_neither_what_is_there_nor_its_digest():
    old = present({"part": Older()})
    new = present({"part": Newer(weighting="none")})
    assert new == old == {"part": {"rate": 1.0, "way": "plain"}}
    assert digest(new) == digest(old)
    assert restored(Newer, old["part"]) == Newer(weighting="none")


@pytest.mark.parametrize(
    ("section", "more"),
    [
        (Newer(), {"weighting": "min_snr", "gamma": 5.0}),
        (Newer(weighting="none", rate=1.5), {"rate": 1.5, "bound": 2.0}),
        (Newer(weighting="none", way="bent", deep=0.5), {"way": "bent", "deep": 0.5}),
        (Newer(weighting="none", inner=Inner(strength=1)), {"inner": {"strength": 1.0}}),
    ],
)
def test_a_new_key_that_is_on_is_there(section, more):
    there = present({"part": section})["part"]
    assert there == {"rate": 1.0, "way": "plain"} | more
    assert restored(Newer, there) == section
