"""A LoRA adapter inside a UNet: put there by peft, drawn, read out, loaded, switched off.

The adapter's weights are float32 whatever the precision of the base. peft casts a layer's input
to float32 for the adapter, adds its product to the base's output and casts the sum back, so the
base computes in its own precision and the adapter, its gradients and its updates do not.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator, Mapping

import torch
from torch import Tensor, nn

from lora_recipes.adapter.names import ATTENTION, kohya_name
from lora_recipes.diffusion import draws
from lora_recipes.errors import Problem, UserError
from lora_recipes.recipe.sections.lora import Lora
from lora_recipes.text import first_few

ADAPTER = "default"
"""What peft calls our adapter."""


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


def inject(unet: nn.Module, lora: Lora, seed: int) -> None:
    """Put a fresh adapter into the UNet and freeze the rest.

    A fresh adapter changes nothing: its up matrices are 0. Its down matrices are uniform within
    ±1/√(inputs). Each module is drawn from its own stream, so a module's start depends neither
    on which others are trained nor on their order.

    Args:
        unet: on any device, in any floating precision, without an adapter.
        lora: rank, alpha (scale = alpha / rank) and targets.
        seed: the seed of training.

    Source: Hu et al. 2021, arXiv:2106.09685, section 4.1; down is drawn as in its reference
    code, kaiming-uniform with a = √5.
    """
    from peft import LoraConfig, inject_adapter_in_model

    unet.requires_grad_(False)
    config = LoraConfig(
        r=lora.rank,
        lora_alpha=lora.alpha,  # peft only divides it by r: any number will do
        target_modules=target_modules(unet, lora.targets),
    )
    # peft would draw from the global stream; on the meta device it draws nothing.
    inject_adapter_in_model(config, unet, adapter_name=ADAPTER, low_cpu_mem_usage=True)
    for name, layer in _layers(unet):
        device = layer.base_layer.weight.device
        down, up = layer.lora_A[ADAPTER], layer.lora_B[ADAPTER]
        down.weight = nn.Parameter(_draw_down(down.weight.shape, seed, name).to(device))
        up.weight = nn.Parameter(torch.zeros(up.weight.shape, device=device))


def adapter_parameters(unet: nn.Module) -> list[tuple[str, nn.Parameter]]:
    """The trainable weights under their names in the adapter's file, in a fixed order.

    Returns:
        (name, weight) pairs sorted by module path, down before up. Linear: down [r, in] and
        up [out, r]; 1×1 convolution: down [r, in, 1, 1] and up [out, r, 1, 1]; float32.
    """
    return [
        (f"{name}.{part}.weight", matrices[ADAPTER].weight)
        for name, layer in _layers(unet)
        for part, matrices in (("lora_down", layer.lora_A), ("lora_up", layer.lora_B))
    ]


def adapter_tensors(unet: nn.Module, alpha: float) -> dict[str, Tensor]:
    """What the adapter's file holds: `X.lora_down.weight`, `X.lora_up.weight` and `X.alpha`.

    Args:
        unet: with an adapter.
        alpha: the recipe's alpha. Readers scale the product by alpha / rank.

    Returns:
        float32 copies on the CPU; alpha is a scalar, [].
    """
    tensors = {
        name: weight.detach().to("cpu", torch.float32, copy=True).contiguous()
        for name, weight in adapter_parameters(unet)
    }
    for name, _ in _layers(unet):
        tensors[f"{name}.alpha"] = torch.tensor(float(alpha))
    return tensors


def load_tensors(unet: nn.Module, tensors: Mapping[str, Tensor]) -> None:
    """Put an adapter file's tensors into a UNet that already has an adapter of that shape.

    Nothing is loaded unless all of it fits.

    Raises:
        UserError: a tensor is missing, foreign, of another shape, or another alpha.
    """
    weights = dict(adapter_parameters(unet))
    alphas = {
        f"{name}.alpha": layer.scaling[ADAPTER] * layer.r[ADAPTER] for name, layer in _layers(unet)
    }
    problems = [
        *_strangers("misses", sorted({*weights, *alphas} - set(tensors))),
        *_strangers("has the foreign", sorted(set(tensors) - {*weights, *alphas})),
        *_misshapen(weights, tensors),
        *_other_alphas(alphas, tensors),
    ]
    if problems:
        raise UserError(problems)
    with torch.no_grad():
        for name, weight in weights.items():
            weight.copy_(tensors[name])


def set_strength(unet: nn.Module, strength: float) -> None:
    """Multiply what the adapter adds: 1 is what was trained, 0 nothing, 0.5 half of it."""
    for _, layer in _layers(unet):
        layer.set_scale(ADAPTER, strength)


@contextlib.contextmanager
def enabled(unet: nn.Module, on: bool) -> Iterator[None]:
    """Within the block the adapter is on, or off: then the UNet is the base to the bit."""
    layers = [layer for _, layer in _layers(unet)]
    before = [layer.disable_adapters for layer in layers]
    # Written past peft's own switch, which would also freeze the adapter's weights.
    for layer in layers:
        layer._disable_adapters = not on
    try:
        yield
    finally:
        for layer, was in zip(layers, before, strict=True):
            layer._disable_adapters = was


def disabled(unet: nn.Module) -> contextlib.AbstractContextManager[None]:
    """Within the block the UNet is the base to the bit."""
    return enabled(unet, False)


def _layers(unet: nn.Module) -> list[tuple[str, nn.Module]]:
    """(name in the adapter's file, peft's layer) pairs, sorted by module path."""
    from peft.tuners.lora import LoraLayer

    found = [(path, layer) for path, layer in unet.named_modules() if isinstance(layer, LoraLayer)]
    assert found, "the UNet has no adapter: call inject first"
    return [(kohya_name(path), layer) for path, layer in sorted(found, key=lambda pair: pair[0])]


def _draw_down(shape: torch.Size, seed: int, name: str) -> Tensor:
    bound = 1 / math.sqrt(math.prod(shape[1:]))
    stream = draws.generator(seed, f"init/{name}")
    return torch.empty(shape).uniform_(-bound, bound, generator=stream)


def _strangers(verb: str, names: list[str]) -> list[Problem]:
    if not names:
        return []
    return [
        Problem(
            what=f"the adapter {verb} tensor {first_few(names, 1)}",
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
