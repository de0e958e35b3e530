"""How much of a training's memory are activations, counted without a GPU and without a weight.

SDXL's true UNet with a real adapter goes forward and back on torch's meta device, where tensors
have a size and no content, and the bytes that are alive are added up. Attention counts as a fused
kernel does: it keeps its inputs, its output and one number a row. Gradients of the adapter are not
counted: `plan` has them beside. Not counted either: what kernels use inside.

    python -m benchmarks.count_memory
    python -m benchmarks.count_memory --resolution 512 --batch 4 --rank 128
"""

from __future__ import annotations

import argparse
import json
import weakref
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from lora_recipes.adapter.inject import adapter_parameters, inject
from lora_recipes.recipe.sections.lora import Lora
from lora_recipes.recipe.shapes import SDXL

GIB = 2**30
TOKENS = 77


def main() -> None:
    """Print a line for each combination of targets and gradient checkpointing."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--resolution", type=int, default=1024, help="pixels")
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--rank", type=int, default=32)
    chosen = parser.parse_args()
    for targets in ("attention", "transformer"):
        for checkpointing in (False, True):
            size = activations(
                targets,
                checkpointing,
                rank=chosen.rank,
                resolution=chosen.resolution,
                batch=chosen.batch,
            )
            how = "checkpointed" if checkpointing else "all kept"
            print(f"{targets:12}{how:14}{size / GIB:7.3f} GiB", flush=True)


def activations(
    targets: str, checkpointing: bool, *, rank: int = 32, resolution: int = 1024, batch: int = 1
) -> int:
    """Bytes: the most that is alive at once in a step in bf16, besides weights and gradients."""
    from diffusers import UNet2DConditionModel

    config = json.loads(SDXL.read_text("utf-8"))
    with torch.device("meta"):
        unet = UNet2DConditionModel.from_config(config)
        unet.to(torch.bfloat16)
    inject(unet, Lora(rank=rank, alpha=rank, targets=targets), 0)
    unet.train()
    if checkpointing:
        unet.enable_gradient_checkpointing()
    for _, weight in adapter_parameters(unet):
        weight.grad = torch.empty_like(weight)
    edge = resolution // 8
    inputs = (
        torch.empty(batch, config["in_channels"], edge, edge, device="meta", dtype=torch.bfloat16),
        torch.empty(batch, dtype=torch.long, device="meta"),
        torch.empty(
            batch, TOKENS, config["cross_attention_dim"], device="meta", dtype=torch.bfloat16
        ),
    )
    conditioning = {
        "text_embeds": torch.empty(batch, 1280, device="meta"),
        "time_ids": torch.empty(batch, 6, device="meta"),
    }
    there = [*unet.parameters(), *unet.buffers()]
    there += [weight.grad for _, weight in adapter_parameters(unet)]
    with _fused_attention(), Alive(there) as alive:
        predicted = unet(*inputs, added_cond_kwargs=conditioning).sample.float()
        predicted.square().mean().backward()
    return alive.most


class Alive(TorchDispatchMode):
    """Adds up the bytes of all tensors that are alive, but for some that were there before."""

    def __init__(self, there: list[torch.Tensor]) -> None:
        super().__init__()
        self.now = self.most = 0
        self._there = [tensor.untyped_storage() for tensor in there]
        self._known = {storage._cdata for storage in self._there}

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None):
        results = function(*args, **(kwargs or {}))
        for result in tree_leaves(results):
            if isinstance(result, torch.Tensor):
                self._add(result.untyped_storage())
        return results

    def _add(self, storage: torch.UntypedStorage) -> None:
        key, size = storage._cdata, storage.nbytes()
        if key not in self._known:
            self._known.add(key)
            self.now += size
            self.most = max(self.most, self.now)
            weakref.finalize(storage, self._remove, key, size)

    def _remove(self, key: int, size: int) -> None:
        self._known.discard(key)
        self.now -= size


class _Fused(torch.autograd.Function):
    """What a fused attention kernel keeps; no arithmetic."""

    @staticmethod
    def forward(ctx: Any, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor):
        output = torch.empty_like(query)
        rows = torch.empty(query.shape[:-1], device=query.device, dtype=torch.float32)
        ctx.save_for_backward(query, key, value, output, rows)
        return output

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor):  # type: ignore[override]
        return tuple(torch.empty_like(tensor) for tensor in ctx.saved_tensors[:3])


@contextmanager
def _fused_attention():
    def attend(query, key, value, *_, **__):
        return _Fused.apply(query, key, value)

    with patch.object(torch.nn.functional, "scaled_dot_product_attention", attend):
        yield


if __name__ == "__main__":
    main()
