"""A sampler that cannot draw is told before the training, for every sampler that is allowed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from lora_recipes.base.known import SCHEDULERS
from lora_recipes.errors import UserError
from lora_recipes.generate.try_sampler import try_sampler
from lora_recipes.recipe.sections.base import Base
from lora_recipes.stages import train
from tests.models import tiny_sdxl
from tests.sample.conftest import write_resolved

BASE = Base(model="model")


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("sampler")
    tiny_sdxl(root / "model")
    return root


def scheduler(root: Path, **changes: Any) -> Path:
    file = root / "model/scheduler/scheduler_config.json"
    known = {
        "_class_name": "EulerDiscreteScheduler",
        "num_train_timesteps": 1000,
        "beta_start": 0.00085,
        "beta_end": 0.012,
        "beta_schedule": "scaled_linear",
        "prediction_type": "epsilon",
    }
    file.write_text(json.dumps(known | changes))
    return file


@pytest.mark.filterwarnings("ignore:__array_wrap__:DeprecationWarning")  # diffusers with numpy 2
@pytest.mark.parametrize("name", SCHEDULERS)
def test_every_sampler_that_is_allowed_draws_in_the_usual_steps(root: Path, name: str):
    scheduler(root, _class_name=name)
    try_sampler(BASE, root, 25)


@pytest.mark.parametrize("name", ["DDIMScheduler", "DDPMScheduler", "DDIMParallelScheduler"])
def test_more_steps_than_the_schedule_has_are_refused(root: Path, name: str):
    file = scheduler(root, _class_name=name, num_train_timesteps=100)
    with pytest.raises(UserError) as caught:
        try_sampler(BASE, root, 101)
    (problem,) = caught.value.problems
    assert problem.where == str(file)
    assert problem.what.startswith(f"{name} cannot draw in sample.steps = 101: ")
    assert problem.fix == (
        "set sample.steps to another number such as 25, or sample.prompts to [], or choose "
        "another base.model"
    )
    try_sampler(BASE, root, 100)


def test_what_is_not_finite_is_refused(root: Path, monkeypatch: pytest.MonkeyPatch):
    scheduler(root)
    monkeypatch.setattr("lora_recipes.generate.try_sampler.ANSWER", float("nan"))
    with pytest.raises(UserError) as caught:
        try_sampler(BASE, root, 2)
    assert "cannot draw in sample.steps = 2: the picture holds values that are not finite" in str(
        caught.value
    )


def test_the_train_stage_asks_before_it_trains(root: Path, monkeypatch: pytest.MonkeyPatch):
    write_resolved(root)
    asked: list[int] = []
    monkeypatch.setattr(
        "lora_recipes.generate.try_sampler.try_sampler",
        lambda base, root, steps: asked.append(steps),
    )
    train._try_sampler(root, BASE)
    assert asked == [2]
