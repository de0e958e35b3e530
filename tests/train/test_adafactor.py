"""Stacked Adafactor gives transformers' bits, in a hundredth of the operations."""

from __future__ import annotations

import itertools
import json
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from torch.optim.lr_scheduler import LambdaLR
from torch.utils._python_dispatch import TorchDispatchMode
from transformers.optimization import Adafactor as Reference

from lora_recipes.plan.shapes import SDXL, adapted_shapes
from lora_recipes.train.optim import adafactor
from lora_recipes.train.optim.adafactor import Adafactor

PUBLISHED: dict[str, Any] = {
    "lr": 1e-2,
    "eps": (1e-30, 1e-3),
    "clip_threshold": 1.0,
    "decay_rate": -0.8,
    "beta1": None,
    "weight_decay": 0.01,
    "scale_parameter": False,
    "relative_step": False,
    "warmup_init": False,
}
SELF_PACED = {"lr": None, "relative_step": True}
CONVOLUTIONS = [(4, 32, 1, 1), (32, 4, 1, 1), (3, 5, 1, 1)]
ODD = [(1, 1), (1, 7), (13, 37), (3, 5), (5, 3)]


def sdxl(rank: int) -> list[tuple[int, ...]]:
    """The 1,120 matrices of an adapter for SDXL's attention."""
    layers = adapted_shapes(json.loads(SDXL.read_text("utf-8")), "attention")
    return [shape for ins, outs in layers for shape in ((rank, ins), (outs, rank))]


def mixed(rank: int) -> list[tuple[int, ...]]:
    """Two or more of each of SDXL's shapes, 1×1 convolutions, and sizes that fit no register."""
    return [*sorted(set(sdxl(rank))), *CONVOLUTIONS, *ODD] * 2 + ODD


class Race:
    """Both optimizers over the same start and the same gradients."""

    def __init__(self, shapes: list[tuple[int, ...]], **settings: Any) -> None:
        stream = torch.Generator().manual_seed(1)
        # of all sizes: some above and some below the least size of scale_parameter
        starts = [
            torch.randn(shape, generator=stream) * 0.2 * (k % 4) for k, shape in enumerate(shapes)
        ]
        self.ours, self.theirs = (
            [torch.nn.Parameter(start.clone()) for start in starts] for _ in range(2)
        )
        chosen = PUBLISHED | settings
        self.stacked, self.reference = (
            Adafactor(self.ours, **chosen),
            Reference(self.theirs, **chosen),
        )
        self.schedules = [
            LambdaLR(optimizer, lambda step: 0.5 ** (step / 3))
            for optimizer in (self.stacked, self.reference)
            if chosen["lr"] is not None
        ]
        self.stream = torch.Generator().manual_seed(2)
        self.done = 0

    def run(self, steps: int) -> None:
        for _ in range(steps):
            # a down matrix' first gradient is 0, as its up matrix is
            scale = 10.0 ** (self.done % 5 - 3) if self.done else 0.0
            for one, other in zip(self.ours, self.theirs, strict=True):
                other.grad = torch.randn(one.shape, generator=self.stream) * scale
                one.grad.copy_(other.grad)
            self.stacked.step()
            self.reference.step()
            for schedule in self.schedules:
                schedule.step()
            self.done += 1
            self.assert_same()

    def assert_same(self) -> None:
        for one, other in zip(self.ours, self.theirs, strict=True):
            assert torch.equal(one.view(torch.int32), other.view(torch.int32)), one.shape


@contextmanager
def threads(count: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize("rank", [1, 4, 16])
@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"weight_decay": 0.0},
        {"clip_threshold": 0.2, "decay_rate": -0.3, "eps": (1e-8, 1e-3)},
        {"beta1": 0.7},
        {"scale_parameter": True},
        {"scale_parameter": True, "weight_decay": 0.0, "eps": (1e-30, 0.3)},
        SELF_PACED,
        SELF_PACED | {"warmup_init": True, "weight_decay": 0.3},
        SELF_PACED | {"scale_parameter": True, "beta1": 0.9, "weight_decay": 0.7},
    ],
)
def test_every_step_of_every_setting_is_transformers_to_the_bit(rank, settings):
    with threads(1):
        Race(mixed(rank), **settings).run(8)


def test_all_combinations_of_the_switches_are_transformers_to_the_bit():
    for paced, scaled, beta1, decay in itertools.product(
        [{}, SELF_PACED], [False, True], [None, 0.9], [0.0, 0.05]
    ):
        settings = {"scale_parameter": scaled, "beta1": beta1, "weight_decay": decay}
        Race([*CONVOLUTIONS, *ODD, (64, 4), (4, 64)] * 3, **paced, **settings).run(12)


def test_the_1120_matrices_of_sdxl_are_transformers_to_the_bit():
    with threads(1):
        Race(sdxl(4)).run(3)


def test_two_threads_give_transformers_bits_too():
    with threads(2):
        Race(mixed(8), scale_parameter=True).run(4)


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"scale_parameter": True, "beta1": 0.9},
        {"decay_rate": -0.3, "weight_decay": 0.0},
        SELF_PACED,
        SELF_PACED | {"warmup_init": True},
        SELF_PACED | {"scale_parameter": True, "beta1": 0.9, "warmup_init": True},
    ],
)
def test_a_step_that_overflowed_leaves_no_trace_and_the_others_keep_their_bits(settings):
    """As fp16's scaler asks for it: it says on the device what happened. Others never see it."""
    race = Race(mixed(4), **settings)
    for overflowed in (1, 0, 0, 1, 1, 0, 0, 0):
        race.stacked.found_inf = torch.tensor(float(overflowed))
        if overflowed:
            for weight in race.ours:
                weight.grad.fill_(float("inf"))
            race.stacked.step()
            race.assert_same()
        else:
            race.run(1)


def test_how_a_stack_is_cut_changes_no_bit(monkeypatch):
    monkeypatch.setattr(adafactor, "AT_ONCE", 1)
    Race(mixed(4), beta1=0.9).run(3)


def test_a_run_resumed_from_its_state_ends_in_the_same_bits():
    settings = {"scale_parameter": True, "beta1": 0.9}
    whole, broken = (Race(mixed(4), **settings) for _ in range(2))
    whole.run(6)
    broken.run(3)
    weights = [weight.detach().clone() for weight in broken.ours]
    state = broken.stacked.state_dict()
    fresh = Race(mixed(4), **settings)
    for weight, value in zip(fresh.ours, weights, strict=True):
        weight.data.copy_(value)
    fresh.stacked.load_state_dict(state)
    broken.stacked, broken.ours = fresh.stacked, fresh.ours
    broken.schedules[0].optimizer = fresh.stacked
    broken.run(3)
    for one, other in zip(broken.ours, whole.ours, strict=True):
        assert torch.equal(one, other)


class Count(TorchDispatchMode):
    """Counts what reaches torch's kernels."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: Counter[str] = Counter()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.calls[func.overloadpacket._qualified_op_name] += 1
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize(
    ("settings", "most"),
    [({}, 160), (SELF_PACED | {"scale_parameter": True, "beta1": 0.9}, 230)],
)
@pytest.mark.parametrize("scaled", [False, True])
def test_a_step_of_1120_matrices_is_a_few_operations_and_waits_for_nothing(settings, most, scaled):
    race = Race(sdxl(1), **settings)
    if scaled:  # as fp16's scaler asks for it
        race.stacked.found_inf, most = torch.zeros(()), 2 * most
    race.stacked.step()
    with Count() as counted:
        race.stacked.step()
    assert len(race.stacked.stacks) == 5
    assert "aten::_local_scalar_dense" not in counted.calls
    assert counted.calls.total() <= most
