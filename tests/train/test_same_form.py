"""Of two states it is told where they differ in form, and their numbers do not count."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

import pytest
import torch

from lora_recipes.train.same_form import difference

WANTED: dict[str, Any] = {
    "weights": {"a": torch.zeros(2, 3)},
    "groups": [{"lr": None, "betas": (0.9, 0.99), "fused": True, "step": 0}],
    "count": torch.tensor(0),
}


def state(**changes: Any) -> dict[str, Any]:
    group = {"lr": None, "betas": (0.5, 1), "fused": False, "step": 7}
    found = {
        "weights": OrderedDict(a=torch.full((2, 3), float("nan"))),
        "groups": [group],
        "count": torch.tensor(9),
    }
    return found | changes


def test_other_numbers_make_no_difference():
    assert difference(state(), WANTED) == ""


def test_a_number_may_lie_on_the_device():
    group = {**WANTED["groups"][0], "step": torch.tensor(7.0, dtype=torch.float64)}
    assert difference(state(groups=[group]), WANTED) == ""


@pytest.mark.parametrize(
    ("found", "told"),
    [
        (None, "it does not hold what belongs there"),
        ([], "it does not hold what belongs there"),
        ({}, "it does not hold what belongs there"),
        (state(more=1), "it does not hold what belongs there"),
        (state(weights={}), "it.weights does not hold what belongs there"),
        (state(weights={"a": [0.0] * 6}), "it.weights.a is not float32 [2, 3]"),
        (state(weights={"a": torch.zeros(1)}), "it.weights.a is not float32 [2, 3]"),
        (state(weights={"a": torch.zeros(3, 2)}), "it.weights.a is not float32 [2, 3]"),
        (state(weights={"a": torch.zeros(2, 3).half()}), "it.weights.a is not float32 [2, 3]"),
        (
            state(weights={"a": torch.zeros(2, 3, device="meta")}),
            "it.weights.a is not float32 [2, 3]",
        ),
        (
            state(weights={"a": torch.zeros(2, 3).to_sparse()}),
            "it.weights.a is not float32 [2, 3]",
        ),
        (state(groups=[]), "it.groups is not of length 1"),
        (state(groups="x"), "it.groups is not of length 1"),
        (
            state(groups=[{**WANTED["groups"][0], "betas": (0.9,)}]),
            "it.groups[0].betas is not of length 2",
        ),
        (
            state(groups=[{**WANTED["groups"][0], "step": True}]),
            "it.groups[0].step is not a number",
        ),
        (
            state(groups=[{**WANTED["groups"][0], "step": torch.zeros(1)}]),
            "it.groups[0].step is not a number",
        ),
        (
            state(groups=[{**WANTED["groups"][0], "fused": 1}]),
            "it.groups[0].fused is not of the type bool",
        ),
        (
            state(groups=[{**WANTED["groups"][0], "lr": 1.0}]),
            "it.groups[0].lr is not of the type NoneType",
        ),
        (state(count=0), "it.count is not int64 []"),
    ],
)
def test_the_first_difference_in_form_is_told(found: Any, told: str):
    assert difference(found, WANTED) == told
