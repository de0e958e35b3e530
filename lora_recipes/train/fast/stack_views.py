"""The adapter's layers multiply with slices of the optimizer's stacks.

A layer's own weight is a view of its stack already, but autograd does not know that: it gives
each of SDXL's 1,120 matrices its gradient in an operation of its own. Where a layer takes a slice
of the stack instead, cut anew for each forward pass, one operation per stack brings all gradients
to where they belong. In the same cut the stack can be rounded to the base's precision, so that
the LoRA matmuls are computed there; its weights, their gradients' sums and the optimizer
stay float32.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from peft.tuners.lora import LoraLayer
from torch import nn

from lora_recipes.errors import UserError
from lora_recipes.train.fast.linear import FastLinear, Weights
from lora_recipes.train.optim.stacked import Stack


class StackViews:
    """Cuts the stacks anew before each forward pass, once `bind` knows them."""

    def __init__(self, denoiser: nn.Module, dtype: torch.dtype = torch.float32) -> None:
        """Watch a denoiser's forward passes.

        Args:
            denoiser: its LoRA layers that are no `FastLinear` keep their own weights, float32.
            dtype: the dtype of the LoRA matmuls.

        Raises:
            UserError: it is not float32, and some layers can compute in nothing else.
        """
        if dtype != torch.float32:
            _refuse_plain_layers(denoiser)
        self._denoiser = denoiser
        self._dtype = dtype
        self._bound: list[tuple[Stack, list[tuple[Weights, str] | None]]] = []
        self._hook = denoiser.register_forward_pre_hook(self._cut)

    def bind(self, stacks: Sequence[Stack]) -> None:
        """Use these stacks from now on: those of the optimizer that moves the layers' weights."""
        users = {
            id(weight): (layer.weights, field)
            for layer in self._layers()
            for field, weight in layer.own_weights().items()
        }
        self._bound = [
            (stack, [users.get(id(member)) for member in stack.members]) for stack in stacks
        ]

    def release(self) -> None:
        """Give the layers their own weights back."""
        self._hook.remove()
        for layer in self._layers():
            for field, weight in layer.own_weights().items():
                setattr(layer.weights, field, weight)

    def _cut(self, *_: Any) -> None:
        for stack, users in self._bound:
            slices = stack.weight.to(self._dtype).unbind()
            for user, weight in zip(users, slices, strict=True):
                if user is not None:
                    weights, field = user
                    setattr(weights, field, weight)

    def _layers(self) -> list[FastLinear]:
        return [layer for layer in self._denoiser.modules() if isinstance(layer, FastLinear)]


def _refuse_plain_layers(denoiser: nn.Module) -> None:
    layers = [(path, m) for path, m in denoiser.named_modules() if isinstance(m, LoraLayer)]
    plain = [path for path, layer in layers if not isinstance(layer, FastLinear)]
    if plain:
        raise UserError.of(
            what=f"compute.adapter_precision = base: {len(plain)} of the adapter's "
            f"{len(layers)} layers compute in float32 only, the first of them {plain[0]}",
            allowed="fp32",
            fix="set compute.adapter_precision: fp32, or install the packages of requirements.lock",
        )
