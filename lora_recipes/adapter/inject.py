"""LoRA layers inside one part of a base model: put there by peft, drawn, and found again.

The adapter's weights are float32 whatever the precision of the base. peft casts a layer's input
to float32 for the adapter, adds its product to the base's output and casts the sum back, so the
base computes in its own precision and the adapter, its gradients and its updates do not.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from lora_recipes.adapter.names import ATTENTION
from lora_recipes.diffusion import draws
from lora_recipes.recipe.sections.lora import Lora

ADAPTER = "default"
"""What peft calls our adapter."""

Namer = Callable[[str], str]
"""From a module's path in its part of the model to its name in the adapter's file."""


def target_modules(unet: nn.Module, targets: str) -> list[str]:
    """The paths of the modules that get an adapter, sorted.

    Args:
        unet: a UNet without an adapter.
        targets: `attention`, the four projections of every attention (560 modules in SDXL), or
            `transformer`, every linear and 1×1 convolution of the transformers (722).
    """
    from diffusers.models.transformers.transformer_2d import Transformer2DModel

    paths = [
        f"{outer}.{inner}"
        for outer, transformer in unet.named_modules()
        if isinstance(transformer, Transformer2DModel)
        for inner, module in transformer.named_modules()
        if isinstance(module, nn.Linear)
        or (isinstance(module, nn.Conv2d) and module.kernel_size == (1, 1))
    ]
    if targets == "attention":
        paths = [path for path in paths if path.endswith(tuple(f".{leaf}" for leaf in ATTENTION))]
    return sorted(paths)


def inject(model: nn.Module, paths: list[str], name_of: Namer, lora: Lora, seed: int) -> None:
    """Put a fresh adapter into some modules of a model and freeze the rest.

    Args:
        model: on any device, in any floating precision, without an adapter.
        paths: the modules that get one, as `target_modules` gives them.
        name_of: names the stream that a module is drawn from.
        lora: rank and alpha (scale = alpha / rank).
        seed: the seed of training.
    """
    from peft import LoraConfig, inject_adapter_in_model

    model.requires_grad_(False)
    config = LoraConfig(
        r=lora.rank,
        lora_alpha=lora.alpha,  # peft only divides it by r: any number will do
        target_modules=paths,
    )
    # peft would draw from the global stream; on the meta device it draws nothing.
    inject_adapter_in_model(config, model, adapter_name=ADAPTER, low_cpu_mem_usage=True)
    for name, layer in lora_layers(model, name_of):
        device = layer.base_layer.weight.device
        down, up = layer.lora_A[ADAPTER], layer.lora_B[ADAPTER]
        down.weight = nn.Parameter(_draw_down(down.weight.shape, seed, name).to(device))
        up.weight = nn.Parameter(torch.zeros(up.weight.shape, device=device))


def lora_layers(model: nn.Module, name_of: Namer) -> list[tuple[str, nn.Module]]:
    """(name in the adapter's file, peft's layer) pairs, sorted by module path."""
    from peft.tuners.lora import LoraLayer

    found = [(path, layer) for path, layer in model.named_modules() if isinstance(layer, LoraLayer)]
    return [(name_of(path), layer) for path, layer in sorted(found, key=lambda pair: pair[0])]


def _draw_down(shape: torch.Size, seed: int, name: str) -> Tensor:
    bound = 1 / math.sqrt(math.prod(shape[1:]))
    stream = draws.generator(seed, f"init/{name}")
    return torch.empty(shape).uniform_(-bound, bound, generator=stream)
