"""Base configurations: located, and known to be trained right, or refused by name."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lora_recipes.base.check import refuse_unknown
from lora_recipes.base.components import Located
from lora_recipes.base.facts import Facts, read_facts
from lora_recipes.base.known import CONFIGURATIONS, understood
from lora_recipes.base.locate import locate
from lora_recipes.recipe.sections.base import Base
from tests.fuzz.bases import change, changes, hollow
from tests.fuzz.property import fuzz, outcome


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    return hollow(tmp_path_factory.mktemp("base") / "whole")


def _facts(root: Path) -> tuple[Located, Facts]:
    located = locate(Base(model="model"), root, download=False)
    refuse_unknown(located)
    return located, read_facts(located)


@fuzz(300)
@given(made=st.lists(changes(), min_size=1, max_size=2, unique_by=lambda one: one[0]))
def test_a_base_is_known_to_be_right_or_refused_by_name(whole: Path, made):
    root = whole.parent
    shutil.rmtree(root / "model", ignore_errors=True)
    shutil.copytree(whole, root / "model", copy_function=_linked)
    for one in made:
        target = root / "model" / one[0]
        content = target.read_bytes() if one[1] == "header" else b""
        target.unlink()
        if one[1] == "header":
            target.write_bytes(content)
        elif one[1] in ("index", "kind"):
            target.touch()
        change(root / "model", *one)
    result = outcome(lambda: _facts(root))
    if result.value is not None:
        _hold(*result.value)


def _linked(source: str, target: str) -> None:
    Path(target).hardlink_to(source)


def _hold(located: Located, facts: Facts) -> None:
    """What is trained is in the stated ranges, and a library sees known keys alone."""
    assert 1e-3 <= facts.latent_scale <= 1e3
    assert facts.prediction in ("epsilon", "v_prediction")
    schedule = facts.schedule
    assert 0 < schedule.beta_start <= schedule.beta_end < 1
    assert 100 <= schedule.num_train_timesteps <= 10_000
    for name, component in located.components.items():
        if name in CONFIGURATIONS:
            config = json.loads((component.config / "config.json").read_text("utf-8"))
            assert understood(name, config).keys() <= CONFIGURATIONS[name].keys()
