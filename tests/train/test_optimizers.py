"""Each setting of optimizer and schedule does what transformers, torch or the formula says."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from transformers.optimization import Adafactor, get_scheduler

from lora_recipes.recipe.sections.train import Train
from lora_recipes.train.optim.optimizers import build_optimizer, build_schedule
from tests.train.test_adafactor import Count

STEPS = 8
SHAPES = [(3, 5), (7, 3)]


def parameters() -> list[torch.nn.Parameter]:
    stream = torch.Generator().manual_seed(1)
    return [torch.nn.Parameter(torch.randn(shape, generator=stream)) for shape in SHAPES]


def gradients() -> list[list[torch.Tensor]]:
    stream = torch.Generator().manual_seed(2)
    return [[torch.randn(shape, generator=stream) * 4 for shape in SHAPES] for _ in range(STEPS)]


def walk(weights, optimizer, schedule=None) -> list[torch.Tensor]:
    for step in gradients():
        for weight, gradient in zip(weights, step, strict=True):
            weight.grad = gradient.clone()
        optimizer.step()
        if schedule is not None:
            schedule.step()
    return [weight.detach() for weight in weights]


def ours(**settings: Any) -> list[torch.Tensor]:
    train = Train(**settings)
    weights = parameters()
    optimizer = build_optimizer(weights, train)
    return walk(weights, optimizer, build_schedule(optimizer, STEPS, train))


def assert_same(found: list[torch.Tensor], expected: list[torch.Tensor]) -> None:
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=0)


def differ(found: list[torch.Tensor], other: list[torch.Tensor]) -> bool:
    return any(not torch.equal(a, b) for a, b in zip(found, other, strict=True))


PUBLISHED = {
    "lr": 2e-2,
    "eps": (1e-30, 1e-3),
    "clip_threshold": 1.0,
    "decay_rate": -0.8,
    "beta1": None,
    "weight_decay": 0.01,
    "scale_parameter": False,
    "relative_step": False,
    "warmup_init": False,
}
SELF_PACED = {"learning_rate": "auto", "adafactor": {"relative_step": True}}
WARMING_UP = {"learning_rate": "auto", "adafactor": {"relative_step": True, "warmup_init": True}}


@pytest.mark.parametrize(
    ("settings", "arguments"),
    [
        ({"learning_rate": 1e-3}, {"lr": 1e-3}),
        ({"weight_decay": 0.5}, {"weight_decay": 0.5}),
        ({"adafactor": {"clip_threshold": 0.2}}, {"clip_threshold": 0.2}),
        ({"adafactor": {"decay_rate": -0.3}}, {"decay_rate": -0.3}),
        ({"adafactor": {"beta1": 0.7}}, {"beta1": 0.7}),
        ({"adafactor": {"eps": [0.5, 1e-3]}}, {"eps": (0.5, 1e-3)}),
        ({"adafactor": {"scale_parameter": True}}, {"scale_parameter": True}),
        (SELF_PACED, {"lr": None, "relative_step": True}),
        (WARMING_UP, {"lr": None, "relative_step": True, "warmup_init": True}),
    ],
)
def test_each_adafactor_setting_gives_what_transformers_gives(settings, arguments):
    found = ours(**({"learning_rate": 2e-2, "optimizer": "adafactor"} | settings))
    weights = parameters()
    assert_same(found, walk(weights, Adafactor(weights, **(PUBLISHED | arguments))))
    assert differ(found, ours(learning_rate=2e-2)), "the setting did nothing"


def test_adafactor_knows_its_second_eps_as_the_least_size_of_weights():
    def scaled(eps: float) -> list[torch.Tensor]:
        return ours(adafactor={"scale_parameter": True, "eps": [1e-30, eps]})

    assert differ(scaled(1e-3), scaled(1.0))
    weights = parameters()
    settings = PUBLISHED | {"lr": 1e-4, "scale_parameter": True, "eps": (1e-30, 1.0)}
    assert_same(scaled(1.0), walk(weights, Adafactor(weights, **settings)))


def test_adafactor_is_the_published_formula():
    """Shazeer & Stern 2018, algorithm 4 with algorithm 5's clipping, written out in float64."""
    rate, decay = 1e-2, 0.1
    expected = [weight.detach().double() for weight in parameters()]
    rows = [torch.zeros(shape[0], dtype=torch.float64) for shape in SHAPES]
    columns = [torch.zeros(shape[1], dtype=torch.float64) for shape in SHAPES]
    for step, all_gradients in enumerate(gradients(), start=1):
        beta2 = 1 - step**-0.8
        for k, gradient in enumerate(all_gradients):
            squared = gradient.double() ** 2 + 1e-30
            rows[k] = beta2 * rows[k] + (1 - beta2) * squared.mean(1)
            columns[k] = beta2 * columns[k] + (1 - beta2) * squared.mean(0)
            second = rows[k][:, None] * columns[k][None, :] / rows[k].mean()
            update = gradient.double() / second.sqrt()
            update /= max(1.0, float(update.square().mean().sqrt()))
            expected[k] = expected[k] * (1 - decay * rate) - rate * update
    found = ours(learning_rate=rate, weight_decay=decay)
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one.double(), other, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    "settings",
    [
        {"learning_rate": 1e-3},
        {"weight_decay": 0.5},
        {"adamw": {"beta1": 0.5}},
        {"adamw": {"beta2": 0.9}},
        {"adamw": {"eps": 0.5}},
    ],
)
def test_each_adamw_setting_is_in_the_formula(settings):
    """Loshchilov & Hutter 2017, algorithm 2, written out in float64."""
    train = Train(**({"learning_rate": 1e-2, "optimizer": "adamw"} | settings))
    rate, decay, chosen = float(train.learning_rate), train.weight_decay, train.adamw
    expected = [weight.detach().double() for weight in parameters()]
    first = [torch.zeros(shape, dtype=torch.float64) for shape in SHAPES]
    second = [torch.zeros(shape, dtype=torch.float64) for shape in SHAPES]
    for step, all_gradients in enumerate(gradients(), start=1):
        for k, gradient in enumerate(all_gradients):
            first[k] = chosen.beta1 * first[k] + (1 - chosen.beta1) * gradient.double()
            second[k] = chosen.beta2 * second[k] + (1 - chosen.beta2) * gradient.double() ** 2
            mean = first[k] / (1 - chosen.beta1**step)
            spread = (second[k] / (1 - chosen.beta2**step)).sqrt() + chosen.eps
            expected[k] = expected[k] * (1 - rate * decay) - rate * mean / spread
    found = ours(**({"learning_rate": 1e-2, "optimizer": "adamw"} | settings))
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one.double(), other, rtol=1e-5, atol=1e-6)
    assert differ(found, ours(learning_rate=1e-2, optimizer="adamw")), "the setting did nothing"


def test_adamw_is_torchs_own_up_to_the_last_bits_and_one_operation_in_all():
    """Fused, a product and a sum are rounded once instead of twice."""
    train = Train(optimizer="adamw", learning_rate=1e-2)
    weights = parameters()
    theirs = torch.optim.AdamW(weights, lr=1e-2, weight_decay=train.weight_decay, foreach=False)
    for one, other in zip(
        ours(optimizer="adamw", learning_rate=1e-2), walk(weights, theirs), strict=True
    ):
        torch.testing.assert_close(one, other, rtol=1e-6, atol=1e-7)
    optimizer = build_optimizer(parameters(), train)
    with Count() as counted:
        optimizer.step()
    assert counted.calls["aten::_fused_adamw_"] == 1


@pytest.mark.parametrize("optimizer", ["adafactor", "adamw"])
def test_weight_decay_shrinks_weights_that_no_gradient_moves(optimizer):
    train = Train(optimizer=optimizer, learning_rate=0.1, weight_decay=0.5)
    weights = parameters()
    chosen = build_optimizer(weights, train)
    schedule = build_schedule(chosen, STEPS, train)
    assert schedule is not None
    for _ in range(STEPS):
        for weight in weights:
            weight.grad = torch.zeros_like(weight)
        chosen.step()
        schedule.step()
    for weight, start in zip(weights, parameters(), strict=True):
        torch.testing.assert_close(weight, start * (1 - 0.1 * 0.5) ** STEPS)


@pytest.mark.parametrize(
    ("settings", "name", "arguments"),
    [
        ({"scheduler": "constant"}, "constant", {}),
        (
            {"scheduler": "constant_with_warmup", "warmup_steps": 7},
            "constant_with_warmup",
            {"num_warmup_steps": 7},
        ),
        ({"scheduler": "linear"}, "linear", {"num_warmup_steps": 0}),
        ({"scheduler": "linear", "warmup_steps": 5}, "linear", {"num_warmup_steps": 5}),
        ({"scheduler": "cosine", "warmup_steps": 3}, "cosine", {"num_warmup_steps": 3}),
        (
            {"scheduler": "cosine_with_restarts", "restarts": 3, "warmup_steps": 2},
            "cosine_with_restarts",
            {"num_warmup_steps": 2, "scheduler_specific_kwargs": {"num_cycles": 3}},
        ),
        (
            {"scheduler": "polynomial", "power": 2.5, "warmup_steps": 4},
            "polynomial",
            {"num_warmup_steps": 4, "scheduler_specific_kwargs": {"power": 2.5}},
        ),
    ],
)
@pytest.mark.parametrize("optimizer", ["adafactor", "adamw"])
def test_the_optimizer_gets_the_rate_that_transformers_would_set(
    settings, name, arguments, optimizer
):
    total = 40
    train = Train(learning_rate=3e-3, optimizer=optimizer, **settings)
    chosen = build_optimizer(parameters(), train)
    schedule = build_schedule(chosen, total, train)
    theirs = torch.optim.SGD(parameters(), lr=3e-3)
    reference = get_scheduler(name, theirs, num_training_steps=total, **arguments)
    assert schedule is not None
    rates = []
    for _ in range(total):
        rates.append(chosen.param_groups[0]["lr"])
        assert rates[-1] == pytest.approx(theirs.param_groups[0]["lr"], rel=1e-12, abs=1e-18)
        chosen.step()
        theirs.step()
        schedule.step()
        reference.step()
    assert (len(set(rates)) == 1) == (name == "constant")


def test_a_schedule_moves_the_weights_by_the_rate_of_each_step():
    """Under AdamW without memory every update is the gradient's sign times the rate."""
    rates = [1e-2 * 0.5 * (1 + math.cos(math.pi * step / STEPS)) for step in range(STEPS)]
    found = ours(
        optimizer="adamw",
        learning_rate=1e-2,
        scheduler="cosine",
        weight_decay=0.0,
        adamw={"beta1": 0.0, "beta2": 0.0, "eps": 1e-20},
    )
    for k, start in enumerate(parameters()):
        expected = start.detach()
        for rate, step in zip(rates, gradients(), strict=True):
            expected = expected - rate * step[k].sign()
        torch.testing.assert_close(found[k], expected)


def test_adafactor_that_finds_its_own_rate_has_no_schedule():
    train = Train(**SELF_PACED)
    assert build_schedule(build_optimizer(parameters(), train), STEPS, train) is None
