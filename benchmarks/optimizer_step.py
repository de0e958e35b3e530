"""How long one optimizer step takes for SDXL's adapter: ours against the libraries' own.

Checks first that the weights agree, to the bit or within a bound, then times the two in turns, in
process-CPU time on one thread, and counts the operations that a step sends to torch's kernels.

    python -m benchmarks.optimizer_step
    python -m benchmarks.optimizer_step --ranks 4 128 --pairs 15 --save
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from typing import Any

import torch
from torch.optim import Optimizer
from torch.utils._python_dispatch import TorchDispatchMode
from transformers.optimization import Adafactor

from benchmarks.pairs import ROUNDS, spread
from benchmarks.results import Result, tell
from lora_recipes.plan.shapes import SDXL, adapted_shapes
from lora_recipes.recipe.sections.train import Train
from lora_recipes.train.optim.optimizers import build_optimizer

RATE, DECAY = 1e-4, 0.01
AGREE_STEPS = 3
VIEWS = ("aten::view", "aten::unsqueeze", "aten::slice", "aten::detach", "aten::alias")
"""Operations that run nothing."""

Weights = list[torch.nn.Parameter]
RIVALS: dict[str, tuple[Callable[[Weights], Optimizer], float]] = {
    "adafactor": (
        lambda weights: Adafactor(
            weights, lr=RATE, scale_parameter=False, relative_step=False, weight_decay=DECAY
        ),
        0.0,
    ),
    "adamw": (lambda weights: torch.optim.AdamW(weights, lr=RATE, weight_decay=DECAY), 1e-6),
}
"""The library's own optimizer, and how far its weights may lie from ours."""


def main() -> None:
    """Measure, print a table, and keep the result if asked to."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--ranks", type=int, nargs="+", default=[4, 8, 32])
    parser.add_argument("--optimizers", nargs="+", default=list(RIVALS), choices=list(RIVALS))
    parser.add_argument("--targets", default="attention", choices=["attention", "transformer"])
    parser.add_argument("--pairs", type=int, default=ROUNDS)
    parser.add_argument("--save", action="store_true", help="keep the result in results/")
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    rows = [
        compare(name, rank, chosen.targets, chosen.pairs)
        for name in chosen.optimizers
        for rank in chosen.ranks
    ]
    settings = {"targets": chosen.targets, "pairs": chosen.pairs, "threads": 1}
    notes = [
        "theirs: transformers' Adafactor and torch's AdamW as they come; ops: what a step sends to "
        "torch's kernels",
        f"weights agree after {AGREE_STEPS} steps, as the last column says",
    ]
    tell(Result("optimizer-step", settings, rows, notes), chosen.save)


def compare(name: str, rank: int, targets: Any, pairs: int) -> dict[str, Any]:
    """One row: the two optimizers on the same weights and gradients, in turns."""
    build, bound = RIVALS[name]
    theirs, ours = weights_of(rank, targets), weights_of(rank, targets)
    reference = build(theirs)
    optimizer = build_optimizer(ours, Train(optimizer=name, learning_rate=RATE, weight_decay=DECAY))
    optimizer.param_groups[0]["lr"] = RATE  # in a training, the schedule sets it
    same = agree(optimizer, ours, reference, theirs, bound)
    times = [_in_turns(reference, optimizer, first=pair % 2) for pair in range(pairs)]
    theirs_s, ours_s = zip(*times, strict=True)
    ratios = spread([a / b for a, b in times])
    return {
        "optimizer": name,
        "rank": rank,
        "weights": sum(weight.numel() for weight in ours),
        "theirs ms": round(1000 * spread(theirs_s).median, 1),
        "ours ms": round(1000 * spread(ours_s).median, 1),
        "ratio": round(ratios.median, 2),
        "spread": f"{ratios.low:.2f}-{ratios.high:.2f}",
        "ops": f"{operations(reference)} → {operations(optimizer)}",
        "same": "bits" if same == 0 else f"within {same:.0e}",
    }


def weights_of(rank: int, targets: Any) -> Weights:
    """A fresh adapter for SDXL with a gradient for each of its matrices: the same every time."""
    stream = torch.Generator().manual_seed(0)
    layers = adapted_shapes(json.loads(SDXL.read_text("utf-8")), targets)
    shapes = [shape for ins, outs in layers for shape in ((rank, ins), (outs, rank))]
    weights = [torch.nn.Parameter(torch.randn(shape, generator=stream)) for shape in shapes]
    for weight in weights:
        weight.grad = torch.randn(weight.shape, generator=stream)
    return weights


def agree(
    optimizer: Optimizer, ours: Weights, reference: Optimizer, theirs: Weights, bound: float
) -> float:
    """The largest difference between weights after some steps; stops if it is above the bound."""
    for _ in range(AGREE_STEPS):
        optimizer.step()
        reference.step()
    with torch.no_grad():
        pairs = zip(ours, theirs, strict=True)
        largest = max(float((one - other).abs().max()) for one, other in pairs)
    assert largest <= bound, f"weights differ by {largest}"
    return largest


def operations(optimizer: Optimizer) -> int:
    """What one step sends to torch's kernels, views left out."""
    with _Count() as count:
        optimizer.step()
    return count.calls


class _Count(TorchDispatchMode):
    calls = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func.overloadpacket._qualified_op_name
        self.calls += name.startswith("aten::") and name not in VIEWS
        return func(*args, **(kwargs or {}))


def _in_turns(reference: Optimizer, optimizer: Optimizer, first: int) -> tuple[float, float]:
    seconds = [0.0, 0.0]
    for turn in (first, 1 - first, 1 - first, first):  # ABBA
        start = time.process_time()
        (reference, optimizer)[turn].step()
        seconds[turn] += (time.process_time() - start) / 2
    return seconds[0], seconds[1]


if __name__ == "__main__":
    main()
