"""What gradient checkpointing keeps, and that it changes no number."""

from __future__ import annotations

import pytest
import torch

from lora_recipes.adapter import inject
from lora_recipes.recipe.sections.lora import Lora
from lora_recipes.train.fast.all import speed_up
from lora_recipes.train.fast.recompute import CheckpointedFeedForward, enable_checkpointing
from tests.adapter.tiny import fill, predict, tiny_unet


def step(chosen: bool | str, targets: str) -> tuple[torch.Tensor, torch.Tensor, int]:
    """The answer, all gradients, and the bytes that are kept for the way back."""
    unet = tiny_unet()
    inject.inject(unet, Lora(rank=2, alpha=3, targets=targets), seed=0)
    fill(unet)
    enable_checkpointing(unet, chosen)
    speed_up(unet)
    weights = [weight for _, weight in inject.adapter_parameters(unet)]
    kept: dict[int, int] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        kept[tensor.untyped_storage()._cdata] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        predicted = predict(unet)
    gradients = torch.autograd.grad(predicted.square().mean(), weights)
    return predicted, torch.cat([one.flatten() for one in gradients]), sum(kept.values())


@pytest.mark.parametrize("targets", ["attention", "transformer"])
def test_numbers_are_the_same_to_the_bit_and_less_is_kept(targets):
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
    enable_checkpointing(unet, "feed_forward")
    touched = {name for name, m in unet.named_modules() if isinstance(m, CheckpointedFeedForward)}
    assert touched == {name for name, _ in unet.named_modules() if name.endswith(".ff")}
    assert not any(getattr(module, "gradient_checkpointing", False) for module in unet.modules())
    assert [name for name, _ in unet.named_parameters()] == names


def test_false_leaves_every_layer_as_it_is():
    unet = tiny_unet()
    before = [type(module) for module in unet.modules()]
    enable_checkpointing(unet, False)
    assert [type(module) for module in unet.modules()] == before
    assert not unet.is_gradient_checkpointing
