"""The adapter of a whole base model: of its UNet today, later of its text encoders too.

What trains, samples or evaluates asks here, and never which part of the model a weight is in.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from lora_recipes.adapter.inject import ADAPTER, Namer, inject, lora_layers, target_modules
from lora_recipes.adapter.names import kohya_name
from lora_recipes.errors import Problem, UserError
from lora_recipes.recipe.sections.lora import Lora
from lora_recipes.text import first_few

NAMES: dict[str, Namer] = {"unet": kohya_name}
"""The parts that can have an adapter, in the order of their weights, and how each names modules."""


@dataclass(frozen=True)
class Group:
    """Weights that an optimizer treats alike: they share a rate, and stacks."""

    name: str
    """What the optimizer's group is called."""
    part: str
    """Which part of the model the weights are in: one of `NAMES`."""
    kind: str
    """Which kind of adapter they belong to: `lora`."""
    parameters: dict[str, nn.Parameter]
    """By their names in the adapter's file, sorted by module path, down before up. Linear: down
    [r, in] and up [out, r]; 1×1 convolution: down [r, in, 1, 1] and up [out, r, 1, 1]; float32."""

    def for_optimizer(self) -> dict[str, Any]:
        """The group as torch's optimizers take it."""
        return {"name": self.name, "params": list(self.parameters.values())}


class Adapted:
    """The parts of a base model that have an adapter, or get one.

    It holds no state: two of the same parts are the same adapter.
    """

    def __init__(self, parts: Mapping[str, nn.Module]) -> None:
        """Take the parts by name, as `NAMES` has them."""
        assert parts, "an adapter needs a part of a model"
        assert parts.keys() <= NAMES.keys(), f"unknown parts among {', '.join(parts)}"
        self.parts = {name: parts[name] for name in NAMES if name in parts}

    def inject(self, lora: Lora, seed: int) -> None:
        """Put a fresh adapter into every part and freeze the rest.

        A fresh adapter changes nothing: its up matrices are 0. Its down matrices are uniform
        within ±1/√(inputs). Each module is drawn from its own stream, so a module's start depends
        neither on which others are trained nor on their order.

        Args:
            lora: rank, alpha (scale = alpha / rank) and targets.
            seed: the seed of training.

        Source: Hu et al. 2021, arXiv:2106.09685, section 4.1; down is drawn as in its reference
        code, kaiming-uniform with a = √5.
        """
        for name, part in self.parts.items():
            inject(part, target_modules(part, lora.targets), NAMES[name], lora, seed)

    def groups(self) -> list[Group]:
        """The trainable weights, group by group, in a fixed order."""
        return [
            Group(name, name, "lora", _matrices(_layers(name, part)))
            for name, part in self.parts.items()
        ]

    def parameters(self) -> dict[str, nn.Parameter]:
        """The trainable weights of all groups, by their names in the adapter's file."""
        return {key: weight for group in self.groups() for key, weight in group.parameters.items()}

    def tensors(self, alpha: float) -> dict[str, Tensor]:
        """What the adapter's file holds: `X.lora_down.weight`, `X.lora_up.weight` and `X.alpha`.

        Args:
            alpha: the recipe's alpha. Readers scale the product by alpha / rank.

        Returns:
            float32 copies on the CPU; alpha is a scalar, [].
        """
        tensors = {
            name: weight.detach().to("cpu", torch.float32, copy=True).contiguous()
            for name, weight in self.parameters().items()
        }
        return tensors | {
            f"{name}.alpha": torch.tensor(float(alpha)) for name, _ in self._all_layers()
        }

    def load(self, tensors: Mapping[str, Tensor]) -> None:
        """Take over an adapter file's tensors; nothing is loaded unless all of it fits.

        Raises:
            UserError: there are missing or unexpected keys, or a tensor has another shape, or
                another alpha.
        """
        weights = self.parameters()
        alphas = {
            f"{name}.alpha": layer.scaling[ADAPTER] * layer.r[ADAPTER]
            for name, layer in self._all_layers()
        }
        problems = [
            *_wrong_keys("missing", sorted({*weights, *alphas} - set(tensors))),
            *_wrong_keys("unexpected", sorted(set(tensors) - {*weights, *alphas})),
            *_misshapen(weights, tensors),
            *_other_alphas(alphas, tensors),
        ]
        if problems:
            raise UserError(problems)
        with torch.no_grad():
            for name, weight in weights.items():
                weight.copy_(tensors[name])

    def set_strength(self, strength: float) -> None:
        """Multiply what the adapter adds: 1 is what was trained, 0 nothing, 0.5 half of it."""
        for _, layer in self._all_layers():
            layer.set_scale(ADAPTER, strength)

    @contextlib.contextmanager
    def enabled(self, on: bool) -> Iterator[None]:
        """Within the block the adapter is on, or off: then the model is the base to the bit."""
        layers = [layer for _, layer in self._all_layers()]
        before = [layer.disable_adapters for layer in layers]
        # Written past peft's own switch, which would also freeze the adapter's weights.
        for layer in layers:
            layer._disable_adapters = not on
        try:
            yield
        finally:
            for layer, was in zip(layers, before, strict=True):
                layer._disable_adapters = was

    def _all_layers(self) -> list[tuple[str, Any]]:
        return [pair for name, part in self.parts.items() for pair in _layers(name, part)]


def _layers(name: str, part: nn.Module) -> list[tuple[str, Any]]:
    found = lora_layers(part, NAMES[name])
    assert found, f"the {name} has no adapter: call inject first"
    return found


def _matrices(layers: list[tuple[str, Any]]) -> dict[str, nn.Parameter]:
    return {
        f"{name}.{role}.weight": matrices[ADAPTER].weight
        for name, layer in layers
        for role, matrices in (("lora_down", layer.lora_A), ("lora_up", layer.lora_B))
    }


def _wrong_keys(kind: str, names: list[str]) -> list[Problem]:
    """Keys as `load_state_dict` calls them: `missing` in the file, or `unexpected` there."""
    if not names:
        return []
    return [
        Problem(
            what=f"{kind} keys in the adapter: {first_few(names, 1)}",
            fix="use an adapter that was trained for this base model with these lora.targets",
        )
    ]


def _misshapen(weights: Mapping[str, Tensor], tensors: Mapping[str, Tensor]) -> list[Problem]:
    return [
        Problem(
            what=f"the adapter's tensor {name} is {list(tensors[name].shape)}",
            allowed=f"{list(weight.shape)}",
            fix="use an adapter of this lora.rank that was trained for this base model",
        )
        for name, weight in weights.items()
        if name in tensors and tensors[name].shape != weight.shape
    ]


def _other_alphas(alphas: Mapping[str, float], tensors: Mapping[str, Tensor]) -> list[Problem]:
    return [
        Problem(
            what=f"the adapter's {name} = {tensors[name].tolist()}",
            allowed=f"{alpha:g}",
            fix="inject with the adapter's own alpha",
        )
        for name, alpha in alphas.items()
        if name in tensors and not math.isclose(tensors[name].item(), alpha, rel_tol=1e-6)
    ]
