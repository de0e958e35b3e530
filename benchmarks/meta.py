"""What one training step of the true SDXL costs, counted without a GPU and without weights.

The UNet of SDXL's own configuration lies on torch's meta device, where tensors have shapes and no
numbers. The product's own step runs there: draws, forward, loss, backward, the watch over the
gradients, the optimizer, in fp16 the loss scaling too. Counted are operations (what the host must
launch), waits for the device, FLOP, and the bytes that are alive at most besides the base, the
adapter and its optimizer.

    python -m benchmarks.meta            # print
    python -m benchmarks.meta --check    # fail above benchmarks/ceilings.json, or far below it
    python -m benchmarks.meta --renew    # lower the ceilings to what is measured; never raises one

Attention is counted as the fused kernel that a GPU runs; on the meta device torch would choose the
plain formula.
"""

from __future__ import annotations

import argparse
import json
import sys
import weakref
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode

from lora_recipes.recipe.sections.compute import Checkpointing

CEILINGS = Path(__file__).with_name("ceilings.json")
SLACK = 0.98
"""A figure below this part of its ceiling is progress that the ceiling should keep."""

META = torch.device("meta")
aten = torch.ops.aten
SYNC = aten._local_scalar_dense.default


@dataclass(frozen=True)
class Case:
    """One shape of training."""

    resolution: int = 1024
    batch: int = 1
    rank: int = 32
    targets: str = "attention"
    checkpointing: Checkpointing = False
    adapter: torch.dtype = torch.float32
    base: torch.dtype = torch.bfloat16


CASES = {
    "1024, batch 1, rank 32, attention, adafactor": Case(),
    "the same, checkpointed": Case(checkpointing=True),
    "the same, feed-forward layers checkpointed": Case(checkpointing="feed_forward"),
    "the same, the adapter's products in bf16": Case(adapter=torch.bfloat16),
    "the same, in fp16 with its loss scaling": Case(base=torch.float16),
    "1024, batch 1, rank 128, transformer, adafactor": Case(rank=128, targets="transformer"),
}


class Counter(TorchDispatchMode):
    """Counts operations and waits, and the bytes of what is alive; weights are not counted."""

    def __init__(self, weights: Iterator[Tensor]) -> None:
        super().__init__()
        self.operations = self.waits = 0
        self.alive = self.most_alive = 0
        self._known = {weight.untyped_storage()._cdata for weight in weights}

    def __torch_dispatch__(
        self, operation: Any, types: Any, inputs: Any = (), named: Any = None
    ) -> Any:
        self.operations += 1
        named = named or {}
        if operation is SYNC:
            self.waits += 1
            return 0.0  # the meta device has no number to give
        if _blocks(operation, inputs, named):
            self.waits += 1
        out = operation(*inputs, **named)
        for value in tree_leaves(out):
            if isinstance(value, Tensor) and value.device == META:
                self._watch(value.untyped_storage())
        return out

    def _watch(self, storage: torch.UntypedStorage) -> None:
        if storage._cdata in self._known:
            return
        self._known.add(storage._cdata)
        self.alive += storage.nbytes()
        self.most_alive = max(self.most_alive, self.alive)
        weakref.finalize(storage, self._forget, storage._cdata, storage.nbytes())

    def _forget(self, name: int, size: int) -> None:
        self._known.discard(name)
        self.alive -= size


def _blocks(operation: Any, inputs: Sequence[Any], named: Mapping[str, Any]) -> bool:
    """Whether this copies from the host's memory in a way that waits for the device."""
    if operation is aten._to_copy.default:
        (source,), target = inputs, torch.device(named.get("device") or "cpu")
        waits = not named.get("non_blocking")
    elif operation is aten.copy_.default:
        target, source, waits = inputs[0].device, inputs[1], not (inputs[2:] or [False])[0]
    else:
        return False
    return bool(source.device.type == "cpu" and target == META and waits)


def measure(case: Case) -> dict[str, float]:
    """Count the second step; the first one makes the optimizer's state, and counts FLOP.

    Not both at once: the counter of FLOP keeps tensors alive.
    """
    step, weights = _training(case)
    with _fused_attention():
        with FlopCounterMode(display=False) as flop:
            step(0)
        with Counter(weights()) as counter:
            step(1)
    return {
        "operations": counter.operations,
        "waits": counter.waits,
        "tflop": round(flop.get_total_flops() / 1e12, 3),
        "peak_GiB": round(counter.most_alive / 2**30, 3),
    }


def _training(case: Case) -> tuple[Any, Any]:
    """The product's step as a function of its number, and a way to name all weights and state."""
    from lora_recipes.adapter.parts import Adapted
    from lora_recipes.base import components
    from lora_recipes.base.folder import read_json
    from lora_recipes.diffusion.noise import alphas_cumprod
    from lora_recipes.recipe.sections.lora import Lora
    from lora_recipes.recipe.sections.train import Train
    from lora_recipes.reporting import Quiet
    from lora_recipes.train.fast.recompute import enable_recompute
    from lora_recipes.train.fast.speed_up import speed_up
    from lora_recipes.train.fast.stack_views import StackViews
    from lora_recipes.train.module import Denoiser, Denoising
    from lora_recipes.train.objective import Objective, Pretraining
    from lora_recipes.train.optim.loss_scaling import LossScaling, precision_for
    from lora_recipes.train.optim.optimizers import build_optimizer

    config = read_json(components.CONFIGS / "unet/config.json")
    unet = _meta_unet(config, case.base)
    adapted = Adapted({"unet": unet})
    adapted.inject(Lora(rank=case.rank, alpha=case.rank, targets=case.targets), seed=0)
    speed_up(unet, Quiet())
    enable_recompute(unet, case.checkpointing, Quiet())
    base = Pretraining(alphas_cumprod(0.00085, 0.012, 1000), 0.13025, "epsilon")
    record = _record().to(META)
    denoiser = Denoiser(unet, case.base)
    module = Denoising(denoiser, Objective.of(Train(), base), record).to(META)
    # torch's fused AdamW does not know the meta device
    optimizer = build_optimizer([group.for_optimizer() for group in adapted.groups()], Train())

    StackViews(module.denoiser, case.adapter).bind(optimizer.stacks)

    precision = precision_for(case.base, META)

    def step(number: int) -> None:
        batch = _batch(case, config, number).to(META)
        precision.backward(module.training_step(batch, number), None)
        precision.unscale_gradients(optimizer)
        record.end_step(number)
        if not isinstance(precision, LossScaling):
            gradients = [p.grad for group in optimizer.param_groups for p in group["params"]]
            record.add_gradients(number, gradients)
        precision.optimizer_step(optimizer)
        if isinstance(precision, LossScaling):
            record.add_overflow(number, precision.overflowed)
        optimizer.zero_grad()

    def weights() -> Iterator[Tensor]:
        yield from module.parameters()
        yield from module.buffers()
        for group in optimizer.param_groups:
            for parameter in group["params"]:
                yield parameter
                yield parameter.grad
        for state in optimizer.state.values():
            yield from (value for value in state.values() if isinstance(value, Tensor))

    return step, weights


def _meta_unet(config: Mapping[str, Any], dtype: torch.dtype) -> Any:
    from diffusers import UNet2DConditionModel

    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        with META:
            return UNet2DConditionModel.from_config(config).eval()
    finally:
        torch.set_default_dtype(before)


def _record() -> Any:

    from lora_recipes.train.data.batches import Pictures
    from lora_recipes.train.data.stream import Stream
    from lora_recipes.train.record import StepRecord

    stream = Stream(repeats=(1,), samples=2, batch_size=1, accumulation=1, seed=0)
    return StepRecord(Pictures(Path(), []), stream)


def _batch(case: Case, config: Mapping[str, Any], number: int) -> Any:
    from lora_recipes.train.data.batches import Batch

    size, count = case.resolution // 8, case.batch
    pooled = config["projection_class_embeddings_input_dim"]
    pooled -= 6 * config["addition_time_embed_dim"]
    return Batch(
        number=number,
        positions=tuple((0, number * count + k) for k in range(count)),
        weight=1.0,
        mean_BCHW=torch.zeros(count, 4, size, size),
        std_BCHW=torch.zeros(count, 4, size, size),
        tokens_BLD=torch.zeros(count, 77, config["cross_attention_dim"]),
        pooled_BP=torch.zeros(count, pooled),
        time_ids_B6=torch.zeros(count, 6),
    )


@contextmanager
def _fused_attention() -> Iterator[None]:
    """Let attention be the kernel that a GPU runs, on the meta device too."""

    def fused(query: Tensor, key: Tensor, value: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        kernel = torch.ops.aten._scaled_dot_product_flash_attention.default
        return kernel(query, key, value)[0]

    with patch.object(torch.nn.functional, "scaled_dot_product_attention", fused):
        yield


def problems(
    measured: Mapping[str, Mapping[str, float]], ceilings: Mapping[str, Mapping[str, float]]
) -> list[str]:
    """Every figure above its ceiling, far below it, or without one."""
    found = []
    for case, figures in measured.items():
        for name, value in figures.items():
            ceiling = ceilings.get(case, {}).get(name)
            if ceiling is None:
                found.append(f"{case}: {name} = {value:g} has no ceiling: run --renew")
            elif value > ceiling:
                found.append(f"{case}: {name} = {value:g} is above its ceiling, {ceiling:g}")
            elif value < SLACK * ceiling:
                found.append(
                    f"{case}: {name} = {value:g} is well below its ceiling, {ceiling:g}: "
                    "run --renew to keep that"
                )
    return found


def lowered(
    measured: Mapping[str, Mapping[str, float]], ceilings: Mapping[str, Mapping[str, float]]
) -> dict[str, dict[str, float]]:
    """The ceilings with every one lowered to what was measured; none is raised."""
    return {
        case: {
            name: min(value, ceilings.get(case, {}).get(name, value))
            for name, value in figures.items()
        }
        for case, figures in measured.items()
    }


def main() -> int:
    """Measure every case, print it, and hold it against the ceilings if asked to."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="fail above or far below a ceiling")
    parser.add_argument("--renew", action="store_true", help="lower the ceilings to the measured")
    chosen = parser.parse_args()
    measured = {}
    for name, case in CASES.items():
        measured[name] = measure(case)
        figures = ", ".join(f"{key} {value:g}" for key, value in measured[name].items())
        print(f"{name}: {figures}", flush=True)
    ceilings = json.loads(CEILINGS.read_text("utf-8")) if CEILINGS.is_file() else {}
    if chosen.renew:
        ceilings = lowered(measured, ceilings)
        CEILINGS.write_text(json.dumps(ceilings, indent=1) + "\n", "utf-8")
    found = problems(measured, ceilings) if chosen.check or chosen.renew else []
    print("\n".join(found), file=sys.stderr)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
