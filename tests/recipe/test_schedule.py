"""Learning rates and snapshots: exact, and equal to transformers' schedules."""

from __future__ import annotations

import math

import pytest

from lora_recipes.recipe.schedule import learning_rate_at, schedule_factor, snapshot_steps
from lora_recipes.recipe.sections.optimizers import AdafactorSettings
from lora_recipes.recipe.sections.train import Train

SCHEDULES = [
    Train(scheduler="constant"),
    Train(scheduler="constant_with_warmup", warmup_steps=4),
    Train(scheduler="linear", warmup_steps=3),
    Train(scheduler="linear"),
    Train(scheduler="cosine", warmup_steps=3),
    Train(scheduler="cosine_with_restarts", warmup_steps=2, restarts=3),
    Train(scheduler="polynomial", warmup_steps=3, power=2.0),
    Train(scheduler="polynomial", learning_rate=2e-3),
]


def test_snapshots_fall_on_whole_steps_inside_the_training():
    assert snapshot_steps(120, Train(snapshots=[0.25, 0.5, 0.75])) == [30, 60, 90]
    assert snapshot_steps(2, Train(snapshots=[0.1, 0.5, 0.9])) == [1]


@pytest.mark.parametrize("train", SCHEDULES, ids=lambda t: f"{t.scheduler}-{t.warmup_steps}")
def test_the_learning_rate_equals_transformers_at_every_step(train):
    import torch
    from transformers.optimization import get_scheduler

    total = 20
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=train.learning_rate)
    special = {
        "cosine_with_restarts": {"num_cycles": train.restarts},
        "polynomial": {"power": train.power},
    }.get(train.scheduler, {})
    schedule = get_scheduler(
        train.scheduler, optimizer, train.warmup_steps, total, scheduler_specific_kwargs=special
    )
    for step in range(total + 3):
        expected = optimizer.param_groups[0]["lr"]
        assert math.isclose(
            learning_rate_at(step, total, train), expected, rel_tol=1e-12, abs_tol=1e-20
        ), step
        optimizer.step()
        schedule.step()


def test_the_factor_is_the_part_of_the_peak():
    train = Train(scheduler="linear", warmup_steps=2, learning_rate=3e-3)
    assert [schedule_factor(step, 6, train) for step in range(7)] == [0, 0.5, 1, 0.75, 0.5, 0.25, 0]
    assert learning_rate_at(3, 6, train) == 0.75 * 3e-3


def test_an_automatic_rate_is_adafactors_own_step_size():
    train = Train(learning_rate="auto", adafactor=AdafactorSettings(relative_step=True))
    rates = [learning_rate_at(step, 20_000, train) for step in (0, 9_999, 19_999)]
    assert rates == pytest.approx([1e-2, 1e-2, 20_000**-0.5])
    warm = Train(
        learning_rate="auto", adafactor=AdafactorSettings(relative_step=True, warmup_init=True)
    )
    assert learning_rate_at(9, 100, warm) == pytest.approx(1e-5)


def test_an_automatic_rate_equals_what_transformers_adafactor_uses():
    import torch
    from transformers.optimization import Adafactor as Reference

    train = Train(
        learning_rate="auto", adafactor=AdafactorSettings(relative_step=True, warmup_init=True)
    )
    weight = torch.nn.Parameter(torch.ones(2, 2))
    optimizer = Reference([weight], relative_step=True, scale_parameter=False, warmup_init=True)
    for step in range(6):
        weight.grad = torch.ones(2, 2)
        optimizer.step()
        used = Reference._get_lr(optimizer.param_groups[0], optimizer.state[weight])
        assert used == pytest.approx(learning_rate_at(step, 6, train))
