"""Stacked weights are the layers' own weights, and their gradients the layers' own gradients."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from lora_recipes.recipe.sections.train import Train
from lora_recipes.train.optim.optimizers import build_optimizer
from lora_recipes.train.optim.stacked import stack

SHAPES = [(2, 5), (7, 2), (2, 5), (3,), (2, 5), (7, 2)]


def parameters() -> list[nn.Parameter]:
    stream = torch.Generator().manual_seed(1)
    return [nn.Parameter(torch.randn(shape, generator=stream)) for shape in SHAPES]


def lies_in(view: torch.Tensor, buffer: torch.Tensor) -> bool:
    return view.untyped_storage().data_ptr() == buffer.untyped_storage().data_ptr()


def test_equal_shapes_share_a_buffer_and_each_parameter_keeps_its_numbers():
    members = parameters()
    stacks = stack(members)
    assert [tuple(one.weight.shape) for one in stacks] == [(3, 2, 5), (2, 7, 2), (1, 3)]
    assert [id(m) for one in stacks for m in one.members] == [
        id(members[k]) for k in (0, 2, 4, 1, 5, 3)
    ]
    for found, expected in zip(members, parameters(), strict=True):
        assert torch.equal(found, expected)
        assert found.is_leaf


def test_what_the_buffer_becomes_the_layer_has():
    members = parameters()
    for one in stack(members):
        with torch.no_grad():
            one.weight.fill_(3.0)
    assert all(bool((member == 3).all()) for member in members)


def test_backward_adds_to_the_buffer_over_a_whole_window():
    members = parameters()
    stacks = stack(members)
    for _ in range(3):
        sum((member * member).sum() for member in members).backward()
    for one in stacks:
        torch.testing.assert_close(one.weight.grad, 6 * one.weight.detach())
        assert all(lies_in(member.grad, one.weight.grad) for member in one.members)


def test_a_gradient_from_elsewhere_is_taken_in_and_a_missing_one_counts_as_zero():
    members = parameters()
    members[0].grad = torch.full((2, 5), 2.0)  # before there is a stack
    first, *_ = stack(members)
    assert torch.equal(first.weight.grad.sum((1, 2)), torch.tensor([20.0, 0.0, 0.0]))
    members[2].grad = torch.full((2, 5), 3.0)
    members[0].grad = None
    first.gather()
    assert torch.equal(first.weight.grad.sum((1, 2)), torch.tensor([0.0, 30.0, 0.0]))
    assert all(lies_in(member.grad, first.weight.grad) for member in first.members)


@pytest.mark.parametrize("optimizer", ["adafactor", "adamw"])
@pytest.mark.parametrize("set_to_none", [True, False])
def test_zeroed_gradients_stay_views(optimizer, set_to_none):
    members = [member for member in parameters() if member.ndim > 1]
    chosen = build_optimizer(members, Train(optimizer=optimizer))
    members[0].grad = torch.ones(2, 5)
    chosen.zero_grad(set_to_none=set_to_none)
    sum(member.sum() for member in members).backward()
    for one in chosen.stacks:
        assert bool((one.weight.grad == 1).all())
        assert all(lies_in(member.grad, one.weight.grad) for member in one.members)


def test_moving_to_where_they_are_and_loading_a_checkpoint_keep_the_views():
    layers = nn.Sequential(*(nn.Linear(4, 4, bias=False) for _ in range(3)))
    (one,) = stack(layers.parameters())
    state = {
        name: torch.full_like(value, k)
        for k, (name, value) in enumerate(layers.state_dict().items())
    }
    layers.to("cpu").load_state_dict(state)
    assert one.weight.detach()[:, 0, 0].tolist() == [0, 1, 2]
    F.mse_loss(layers(torch.ones(1, 4)), torch.ones(1, 4)).backward()
    assert all(lies_in(member.grad, one.weight.grad) for member in one.members)
    assert all(member is layer.weight for member, layer in zip(one.members, layers, strict=True))


@pytest.mark.parametrize("optimizer", ["adafactor", "adamw"])
def test_no_stack_holds_weights_of_two_groups_and_each_group_keeps_its_name_and_rate(optimizer):
    members = [member for member in parameters() if member.ndim > 1]
    groups = [
        {"name": "slow", "params": members[:2], "lr": 0.0},
        {"name": "fast", "params": members[2:]},
    ]
    chosen = build_optimizer(groups, Train(optimizer=optimizer))
    assert [group["name"] for group in chosen.param_groups] == ["slow", "fast"]
    shapes = [[tuple(one.shape) for one in group["params"]] for group in chosen.param_groups]
    assert shapes == [[(1, 2, 5), (1, 7, 2)], [(2, 2, 5), (1, 7, 2)]]
    before = [member.detach().clone() for member in members]
    sum(member.square().sum() for member in members).backward()
    chosen.step()
    moved = [not torch.equal(m, old) for m, old in zip(members, before, strict=True)]
    assert moved == [False, False, True, True, True]


@pytest.mark.parametrize("optimizer", ["adafactor", "adamw"])
def test_one_named_group_takes_the_steps_of_plain_parameters_to_the_bit(optimizer):
    found = []
    for grouped in (False, True):
        members = [member for member in parameters() if member.ndim > 1]
        weights = [{"name": "unet", "params": members}] if grouped else members
        chosen = build_optimizer(weights, Train(optimizer=optimizer))
        for _ in range(3):
            sum(member.sin().sum() for member in members).backward()
            chosen.step()
            chosen.zero_grad()
        found.append(torch.cat([member.detach().flatten() for member in members]))
    assert torch.equal(*found)
