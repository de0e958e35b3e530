"""The fast path through a LoRA layer gives what peft's own gives."""

from __future__ import annotations

import pytest
import torch
from peft import LoraConfig, inject_adapter_in_model
from peft.tuners.lora import Conv2d, Linear, LoraLayer
from torch import nn

from lora_recipes.adapter.inject import ADAPTER
from lora_recipes.adapter.parts import Adapted
from lora_recipes.recipe.sections.lora import Lora
from lora_recipes.reporting import Quiet
from lora_recipes.train.fast.linear import FastLinear, WideLinear, speed_up_linear
from tests.adapter.tiny import fill, predict, tiny_unet


def of(unet: nn.Module) -> Adapted:
    return Adapted({"unet": unet})


def speed_up(model: nn.Module) -> None:
    report = Quiet()
    speed_up_linear(model, report)
    assert not report.warned


def adapted(linear: bool = True) -> nn.Module:
    """A tiny UNet with an adapter that is not fresh any more, at a scale of 1.5."""
    unet = tiny_unet(linear)
    of(unet).inject(Lora(rank=2, alpha=3, targets="transformer"), seed=0)
    fill(unet)
    return unet


def gradients(unet: nn.Module) -> torch.Tensor:
    """Of all weights of the adapter, one after the other."""
    weights = list(of(unet).parameters().values())
    found = torch.autograd.grad(predict(unet).square().mean(), weights)
    return torch.cat([gradient.flatten() for gradient in found])


def error(found: torch.Tensor, expected: torch.Tensor) -> float:
    one, other = found.detach().double(), expected.detach().double()
    return float((one - other).norm() / other.norm())


def test_the_whole_models_answer_and_gradients_are_those_of_peft():
    fast, plain = adapted(), adapted()
    speed_up(fast)
    expected = predict(plain)
    with of(plain).enabled(False):
        assert error(predict(plain), expected) > 0.1, "the adapter does something"
    assert error(predict(fast), expected) < 2e-6
    assert error(gradients(fast), gradients(plain)) < 1e-4


@pytest.mark.parametrize(
    ("dtype", "bound"), [(torch.float32, 1e-6), (torch.float16, 1e-3), (torch.bfloat16, 5e-3)]
)
@pytest.mark.parametrize("shape", [(2, 7, 24), (5, 24), (2, 3, 4, 24)])
def test_one_layer_gives_what_peft_gives_in_any_precision_of_the_base(dtype, bound, shape):
    stream = torch.Generator().manual_seed(1)
    config = LoraConfig(r=4, lora_alpha=10, target_modules=["0"])
    (layer,) = inject_adapter_in_model(config, nn.Sequential(nn.Linear(24, 40, dtype=dtype)))
    for name, weight in layer.named_parameters():
        weight.data = torch.randn(weight.shape, generator=stream).to(weight.dtype)
        if "lora" in name:
            weight.data = weight.data.float()
    found = []
    for _ in range(2):
        x = torch.randn(shape, generator=torch.Generator().manual_seed(2)).to(dtype)
        x.requires_grad_()
        layer.zero_grad()
        out = layer(x)
        assert out.dtype == dtype
        out.float().square().mean().backward()
        found.append([out, x.grad, *(p.grad for n, p in layer.named_parameters() if "lora" in n)])
        speed_up(layer)
    assert type(layer) is FastLinear
    for fast, plain in zip(*reversed(found), strict=True):
        assert fast.dtype == plain.dtype
        assert error(fast, plain) < bound


def test_keeping_the_input_narrow_changes_no_bit_where_there_is_nothing_to_widen():
    """So float32, which takes torch's own linear layer instead, computes the same function."""
    stream = torch.Generator().manual_seed(3)
    x, weight = (torch.randn(n, 24, generator=stream).requires_grad_() for n in (7, 4))
    found = []
    for linear in (WideLinear.apply, nn.functional.linear):
        product = linear(x, weight)
        found.append([product, *torch.autograd.grad(product.square().sum(), (x, weight))])
    for one, other in zip(*found, strict=True):
        assert torch.equal(one, other)


def test_switched_off_it_is_the_base_to_the_bit_and_half_on_it_is_peft_half_on():
    fast, plain = adapted(), adapted()
    speed_up(fast)
    with of(fast).enabled(False):
        assert torch.equal(predict(fast), predict(tiny_unet()))
    for unet in (fast, plain):
        of(unet).set_strength(0.5)
    assert error(predict(fast), predict(plain)) < 2e-6


def test_every_linear_layer_takes_the_fast_path_and_keeps_its_weights():
    unet = adapted()
    before = of(unet).parameters()
    speed_up(unet)
    after = of(unet).parameters()
    assert list(after) == list(before)
    assert all(after[name] is weight for name, weight in before.items())
    layers = [module for module in unet.modules() if isinstance(module, LoraLayer)]
    assert {type(layer) for layer in layers} == {FastLinear}


def test_layers_that_are_more_than_a_plain_product_stay_as_they_are():
    unet = adapted(linear=False)
    linear = next(module for module in unet.modules() if type(module) is Linear)
    linear.lora_dropout[ADAPTER] = nn.Dropout(0.5)
    speed_up(unet)
    assert type(linear) is Linear
    kinds = {type(module) for module in unet.modules() if isinstance(module, LoraLayer)}
    assert kinds == {FastLinear, Linear, Conv2d}


def test_arguments_that_the_fast_path_does_not_know_go_to_peft():
    x = torch.randn(2, 24, generator=torch.Generator().manual_seed(4))
    found = []
    for quicken in (False, True):
        (layer,) = model = inject_adapter_in_model(
            LoraConfig(r=4, lora_alpha=10, target_modules=["0"], init_lora_weights=False),
            nn.Sequential(nn.Linear(24, 40)),
        ).eval()
        stream = torch.Generator().manual_seed(5)
        for weight in layer.parameters():
            weight.data = torch.randn(weight.shape, generator=stream)
        if quicken:
            speed_up(model)
            assert type(layer) is FastLinear
        # one sample with the adapter, the other with the base alone
        found.append(layer(x, adapter_names=["default", "__base__"]))
        with pytest.raises(TypeError, match="unheard_of"):
            layer(x, unheard_of=1)
    assert torch.equal(*found)
    assert not torch.allclose(found[1][1], layer(x)[1])
