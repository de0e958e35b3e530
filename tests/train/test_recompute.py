"""What gradient checkpointing stores, and that it changes no number."""

from __future__ import annotations

import pytest
import torch
from diffusers.models.attention import FeedForward

from lora_recipes.adapter.parts import Adapted
from lora_recipes.recipe.sections.lora import Lora
from lora_recipes.reporting import Quiet
from lora_recipes.train.fast.recompute import RecomputedFeedForward, enable_recompute
from lora_recipes.train.fast.speed_up import speed_up
from tests.adapter.tiny import fill, predict, tiny_unet


def step(chosen: bool | str, targets: str) -> tuple[torch.Tensor, torch.Tensor, int]:
    """The answer, all gradients, and the bytes that are stored for the backward pass."""
    unet = tiny_unet()
    adapted = Adapted({"unet": unet})
    adapted.inject(Lora(rank=2, alpha=3, targets=targets), seed=0)
    fill(unet)
    enable_recompute(unet, chosen, Quiet())
    speed_up(unet, Quiet())
    weights = list(adapted.parameters().values())
    kept: dict[int, int] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        kept[tensor.untyped_storage()._cdata] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        predicted = predict(unet)
    gradients = torch.autograd.grad(predicted.square().mean(), weights)
    return predicted, torch.cat([one.flatten() for one in gradients]), sum(kept.values())


@pytest.mark.parametrize("targets", ["attention", "transformer"])
def test_numbers_are_the_same_to_the_bit_and_less_is_stored(targets):
    answer, gradients, everything = step(False, targets)
    answers, kept = {}, {}
    for chosen in ("feed_forward", True):
        answers[chosen], others, kept[chosen] = step(chosen, targets)
        assert torch.equal(answers[chosen], answer)
        assert torch.equal(others, gradients)
    assert kept[True] < kept["feed_forward"] < everything


def test_only_feed_forward_layers_are_touched():
    unet = tiny_unet()
    names = [name for name, _ in unet.named_parameters()]
    enable_recompute(unet, "feed_forward", Quiet())
    touched = {name for name, m in unet.named_modules() if isinstance(m, RecomputedFeedForward)}
    assert touched == {name for name, _ in unet.named_modules() if name.endswith(".ff")}
    assert not any(getattr(module, "gradient_checkpointing", False) for module in unet.modules())
    assert [name for name, _ in unet.named_parameters()] == names


def test_false_leaves_every_layer_as_it_is():
    unet = tiny_unet()
    before = [type(module) for module in unet.modules()]
    enable_recompute(unet, False, Quiet())
    assert [type(module) for module in unet.modules()] == before
    assert not unet.is_gradient_checkpointing


def test_a_layer_in_which_chance_drops_units_is_not_recomputed():
    unet = tiny_unet()
    one, *others = (m for m in unet.modules() if type(m) is FeedForward)
    one.net[1].p = 0.5
    enable_recompute(unet, "feed_forward", Quiet())
    assert type(one) is FeedForward
    assert {type(other) for other in others} == {RecomputedFeedForward}
