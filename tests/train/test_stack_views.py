"""Layers that multiply with slices of the stacks: the same numbers, gradients and adapter."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from peft.tuners.lora import Linear
from torch import nn

from lora_recipes.adapter.parts import Adapted
from lora_recipes.errors import UserError
from lora_recipes.recipe.sections.lora import Lora
from lora_recipes.recipe.sections.train import Train
from lora_recipes.reporting import Quiet
from lora_recipes.tensors import read_tensors
from lora_recipes.train.fast.linear import FastLinear, speed_up_linear
from lora_recipes.train.fast.recompute import enable_recompute
from lora_recipes.train.fast.stack_views import StackViews
from lora_recipes.train.optim.optimizers import build_optimizer
from tests.adapter.tiny import fill, predict, tiny_unet
from tests.train.project import contents, make_project, run_stage


class Trained:
    """A tiny UNet, its adapter, and an optimizer that has stacked the adapter's weights."""

    def __init__(
        self,
        views: torch.dtype | None,
        *,
        linear: bool = True,
        base: torch.dtype = torch.float32,
        checkpointing: bool | str = False,
    ) -> None:
        self.unet = tiny_unet(linear).to(base)
        adapted = Adapted({"unet": self.unet})
        adapted.inject(Lora(rank=2, alpha=3, targets="transformer"), seed=0)
        fill(self.unet)
        speed_up_linear(self.unet, Quiet())
        enable_recompute(self.unet, checkpointing, Quiet())
        self.parameters = list(adapted.parameters().values())
        self.optimizer = build_optimizer(self.parameters, Train(learning_rate=1e-2))
        self.views = StackViews(self.unet, views) if views else None
        if self.views:
            self.views.bind(self.optimizer.stacks)

    def backward(self) -> None:
        predict(self.unet).float().square().mean().backward()

    def gradients(self) -> torch.Tensor:
        found = [weight.grad for weight in self.parameters]
        return torch.cat([gradient.flatten() for gradient in found if gradient is not None])

    def steps(self, count: int) -> torch.Tensor:
        for _ in range(count):
            self.backward()
            self.backward()
            self.optimizer.step()
            self.optimizer.zero_grad()
        return torch.cat([weight.detach().flatten() for weight in self.parameters])


def own(layer: FastLinear) -> tuple[nn.Parameter, nn.Parameter]:
    return tuple(layer.own_weights().values())  # type: ignore[return-value]


@pytest.mark.parametrize("checkpointing", [False, True, "feed_forward"])
@pytest.mark.parametrize("linear", [True, False], ids=["linear", "convolutions too"])
def test_in_float32_gradients_and_steps_are_the_same_to_the_bit(linear, checkpointing):
    plain = Trained(None, linear=linear)
    viewed = Trained(torch.float32, linear=linear, checkpointing=checkpointing)
    for _ in range(2):
        plain.backward()
        viewed.backward()
        assert torch.equal(viewed.gradients(), plain.gradients()), "accumulated ones as well"
    assert bool(plain.gradients().any())
    plain.optimizer.zero_grad()
    viewed.optimizer.zero_grad()
    before = torch.cat([weight.detach().flatten() for weight in plain.parameters])
    after = plain.steps(3)
    assert torch.equal(viewed.steps(3), after)
    assert not torch.equal(before, after)


def test_layers_take_slices_in_the_wanted_precision_and_get_their_own_weights_back():
    viewed = Trained(torch.bfloat16, base=torch.bfloat16)
    assert viewed.views is not None
    viewed.backward()
    layers = [module for module in viewed.unet.modules() if isinstance(module, FastLinear)]
    assert layers
    for layer in layers:
        weights = layer.weights
        for slice_, parameter in zip((weights.down_RI, weights.up_OR), own(layer), strict=True):
            assert slice_.dtype == torch.bfloat16
            assert torch.equal(slice_, parameter.bfloat16())
            assert parameter.dtype == torch.float32
            assert parameter.grad is not None
            assert parameter.grad.dtype == torch.float32
    viewed.steps(1)
    viewed.views.release()
    for layer in layers:
        assert layer.weights.down_RI is own(layer)[0]
        assert layer.weights.up_OR is own(layer)[1]
    predict(viewed.unet)
    assert all(layer.weights.down_RI is own(layer)[0] for layer in layers), "no more slices"


def test_in_bfloat16_gradients_are_off_hardly_more_than_the_base_makes_them_anyway():
    exact = Trained(None)
    plain = Trained(None, base=torch.bfloat16)
    viewed = Trained(torch.bfloat16, base=torch.bfloat16)
    found = []
    for trained in (exact, plain, viewed):
        trained.backward()
        found.append(trained.gradients().double())
    by_base, by_both = (float((one - found[0]).norm() / found[0].norm()) for one in found[1:])
    assert by_base > 0
    assert by_both < 1.5 * by_base
    assert not torch.equal(found[1], found[2])


def test_the_stage_takes_the_precision_that_the_recipe_wants(tmp_path: Path):
    settings = {"optimizer": "adamw", "learning_rate": 0.1, "adamw": {"eps": 0.01}}
    wanted = {
        "fp32": {"precision": "fp32"},
        "fp32, as the base": {"precision": "fp32", "adapter_precision": "base"},
        "bf16": {"precision": "bf16"},
        "bf16, as the base": {"precision": "bf16", "adapter_precision": "base"},
        "fp16": {"precision": "fp16"},
        "fp16, as the base": {"precision": "fp16", "adapter_precision": "base"},
    }
    found = {}
    for name, compute in wanted.items():
        root = make_project(tmp_path / name, settings, compute=compute)
        run_stage(root)
        found[name] = read_tensors(root / "out" / "adapter.safetensors")
    for name, tensor in found["fp32"].items():
        assert torch.equal(found["fp32, as the base"][name], tensor)
    for base, close in (("bf16", 0.2), ("fp16", 0.05)):
        other, one = found[base], found[f"{base}, as the base"]
        up = [name for name in other if "lora_up" in name]
        error = sum(float((one[n] - other[n]).square().sum()) for n in up)
        size = sum(float(other[n].square().sum()) for n in up)
        assert 0 < (error / size) ** 0.5 < close


def test_the_same_again_gives_the_same_bytes(tmp_path: Path):
    compute = {"precision": "bf16", "adapter_precision": "base"}
    roots = [make_project(tmp_path / name, compute=compute) for name in "ab"]
    for root in roots:
        run_stage(root)
    assert contents(roots[0]) == contents(roots[1])


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_a_layer_that_computes_in_float32_only_is_an_error_and_not_silent(dtype):
    with pytest.raises(UserError) as caught:
        Trained(dtype, linear=False, base=dtype)
    assert str(caught.value) == (
        "compute.adapter_precision = base: 22 of the adapter's 192 layers compute in float32 "
        "only, the first of them down_blocks.1.attentions.0.proj_in\n"
        "  allowed: fp32\n"
        "  fix:     set compute.adapter_precision: fp32, or install the packages of "
        "requirements.lock"
    )


def test_a_precision_that_no_layer_can_have_stops_the_stage_before_the_first_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(Linear, "forward", lambda self, x: self.base_layer(x))
    root = make_project(tmp_path, compute={"precision": "bf16", "adapter_precision": "base"})
    with pytest.raises(UserError, match=r"compute\.adapter_precision = base: 32 of .* 32 layers"):
        run_stage(root)
    assert not (root / "out").exists() or not list((root / "out").iterdir())
    assert not list((root / ".lora").rglob("step-*"))
