"""The fast path through an attention layer gives diffusers' own numbers, to the bit."""

from __future__ import annotations

import pytest
import torch
from diffusers.models.attention_processor import Attention, AttnProcessor
from torch import nn

from lora_recipes.adapter.parts import Adapted
from lora_recipes.recipe.sections.lora import Lora
from lora_recipes.reporting import Quiet
from lora_recipes.train.fast.attention import FastAttention, speed_up_attention
from lora_recipes.train.fast.linear import speed_up_linear
from lora_recipes.train.fast.speed_up import speed_up
from tests.adapter.tiny import CONTEXT, fill, predict, tiny_unet


def adapted(targets: str = "transformer") -> nn.Module:
    unet = tiny_unet()
    Adapted({"unet": unet}).inject(Lora(rank=2, alpha=3, targets=targets), seed=0)
    fill(unet)
    return unet


def attentions(unet: nn.Module) -> list[Attention]:
    return [module for module in unet.modules() if isinstance(module, Attention)]


def plain(**settings: object) -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(Attention(16, heads=2, dim_head=8, **settings))


def answer(model: nn.Sequential, **more: object) -> torch.Tensor:
    stream = torch.Generator().manual_seed(1)
    return model[0](torch.randn(2, 5, 16, generator=stream), **more)


@pytest.mark.parametrize("targets", ["attention", "transformer"])
def test_the_whole_models_answer_and_gradients_are_those_of_diffusers_layers(targets):
    found = []
    for quicken in (speed_up_linear, speed_up):
        unet = adapted(targets)
        quicken(unet, Quiet())
        weights = list(Adapted({"unet": unet}).parameters().values())
        predicted = predict(unet)
        gradients = torch.autograd.grad(predicted.square().mean(), weights)
        found.append((predicted, torch.cat([gradient.flatten() for gradient in gradients])))
    assert all(type(layer) is FastAttention for layer in attentions(unet))
    (slow, slow_gradients), (fast, fast_gradients) = found
    assert torch.equal(slow, fast)
    # the gradients of one input are added up in another order
    assert (slow_gradients - fast_gradients).norm() < 1e-5 * slow_gradients.norm()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_self_and_cross_attention_of_a_layer_alone(dtype):
    for tokens in (None, torch.randn(2, 7, CONTEXT, generator=torch.Generator().manual_seed(2))):
        width = None if tokens is None else CONTEXT
        layer = plain(cross_attention_dim=width, bias=True).to(dtype)
        others = None if tokens is None else tokens.to(dtype)
        x = torch.randn(2, 5, 16).to(dtype)
        expected = layer[0](x, encoder_hidden_states=others)
        speed_up_attention(layer, Quiet())
        assert type(layer[0]) is FastAttention
        assert torch.equal(layer[0](x, encoder_hidden_states=others), expected)


def test_a_mask_or_a_picture_goes_the_long_way():
    mask = torch.zeros(2, 1, 5)
    mask[:, :, 3:] = -1e4
    fast = plain()
    speed_up_attention(fast, Quiet())
    assert torch.equal(answer(fast, attention_mask=mask), answer(plain(), attention_mask=mask))
    assert not torch.equal(answer(fast, attention_mask=mask), answer(fast))
    picture = torch.randn(1, 16, 3, 3)
    assert torch.equal(fast[0](picture), plain()[0](picture))


@pytest.mark.parametrize(
    "settings",
    [
        {"norm_num_groups": 4},
        {"qk_norm": "layer_norm"},
        {"residual_connection": True},
        {"rescale_output_factor": 2.0},
        {"dropout": 0.1},
        {"cross_attention_norm": "layer_norm"},
        {"processor": AttnProcessor()},
    ],
    ids=lambda settings: next(iter(settings)),
)
def test_layers_with_more_to_do_stay_as_they_are(settings):
    model = plain(**settings)
    speed_up_attention(model, Quiet())
    assert type(model[0]) is Attention


def test_a_plain_layer_does_not():
    model = plain()
    speed_up_attention(model, Quiet())
    assert type(model[0]) is FastAttention
