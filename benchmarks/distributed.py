"""What it costs that several processes write the bytes of one, against a plain all-reduce.

Trains the pocket on random encoded pictures three times: by one process, by several that add
gradients in the order of one, and by several with one all-reduce for each step, as DDP does, which
adds in an order of its own.
The processes share the machine's cores: compare the last two with each other only.

    python -m benchmarks.distributed
    python -m benchmarks.distributed --processes 4 --accumulation 4 --json figures.json
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
from torch import distributed

from benchmarks import gpu_real_size
from lora_recipes.base.compute import device_name
from lora_recipes.reporting import Quiet
from lora_recipes.stages import train as stage
from lora_recipes.train.data.batches import Batch
from lora_recipes.train.loop import Training
from lora_recipes.train.record import StepRecord

WARM_UP = 3
"""Steps that are not timed."""


def all_reduced(self: Training, batch: Batch) -> None:
    """`Training.micro_batch` with one all-reduce of whole stacks for each optimizer step."""
    loss = self.module.training_step(self.job.fabric.to_device(batch), batch.number)
    self.job.fabric.backward(loss / self.job.stream.accumulation)
    if self.schedule.ended_step(batch.number) is not None:
        for group in self.optimizer.param_groups:
            for stack in group["params"]:
                distributed.all_reduce(stack.grad)


def main() -> None:
    """Measure in turns, print a table, and write the figures as JSON if asked to."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--accumulation", type=int, default=4)
    parser.add_argument("--rank", type=int, default=64)
    parser.add_argument("--resolution", type=int, default=128, help="pixels")
    parser.add_argument("--steps", type=int, default=15)
    parser.add_argument("--turns", type=int, default=3, help="how often each is measured")
    parser.add_argument("--json", type=Path, help="where to write the figures")
    parser.add_argument("--only", nargs=2, help=argparse.SUPPRESS)  # a process of one measurement
    chosen = parser.parse_args()
    if chosen.only:
        measure(Path(chosen.only[1]), chosen.only[0])
        return
    ways = {"one process": 1, "in order": chosen.processes, "all-reduce": chosen.processes}
    found: dict[str, list[dict[str, float]]] = {way: [] for way in ways}
    for _ in range(chosen.turns):
        for way, processes in ways.items():
            found[way].append(run(way, processes, chosen))
    figures = {
        "device": device_name(torch.device("cpu")),
        "torch": torch.__version__,
        "python": platform.python_version(),
        **{k: v for k, v in vars(chosen).items() if isinstance(v, int)},
        **{way: best(of) for way, of in found.items()},
    }
    print(json.dumps(figures, indent=1))
    if chosen.json:
        chosen.json.write_text(json.dumps(figures, indent=1) + "\n", "utf-8")


def run(way: str, processes: int, chosen: argparse.Namespace) -> dict[str, float]:
    """Measure one way in processes of its own."""
    options = gpu_real_size.arguments().parse_args(
        ["--base", "pocket", "--device", "cpu", "--precision", "fp32"]
        + [f"--{name}={getattr(chosen, name)}" for name in ("rank", "resolution", "steps")]
        + [f"--accumulation={chosen.accumulation}"]
    )
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        gpu_real_size.make_project(root, options)
        params = json.loads((root / "params.yaml").read_text("utf-8"))
        params["runtime"]["processes"] = processes
        (root / "params.yaml").write_text(json.dumps(params), "utf-8")
        command = [sys.executable, "-W", "ignore", "-m", "benchmarks.distributed", "--only"]
        subprocess.run([*command, way, folder], check=True)
        return json.loads((root / "measured.json").read_text("utf-8"))


def measure(root: Path, way: str) -> None:
    """Train, and write the main process's median time of a step, CPU time, and peak memory."""
    marks: list[float] = []
    cpu: list[float] = []
    end_step = StepRecord.end_step

    def timed(self: StepRecord, step: int) -> None:
        marks.append(time.perf_counter())
        cpu.append(time.process_time())
        end_step(self, step)

    micro_batch = all_reduced if way == "all-reduce" else Training.micro_batch
    with (
        patch.object(StepRecord, "end_step", timed),
        patch.object(Training, "micro_batch", micro_batch),
    ):
        stage.run(root, Quiet())
    records = list((root / ".lora" / "runs").glob("*.json"))
    if not records or int(os.environ.get("LOCAL_RANK", "0")) > 0:
        return
    peak = json.loads(records[0].read_text("utf-8"))["peak_bytes"]
    figures = {
        "ms_per_step": _median(marks),
        "cpu_ms_per_step": _median(cpu),
        "peak_MiB": peak / 2**20,
    }
    (root / "measured.json").write_text(json.dumps(figures), "utf-8")


def _median(marks: list[float]) -> float:
    later = marks[WARM_UP:]
    return 1000 * statistics.median(b - a for a, b in itertools.pairwise(later))


def best(of: list[dict[str, Any]]) -> dict[str, float]:
    """The quickest median and the least memory: what a busy machine disturbs least."""
    return {name: round(min(one[name] for one in of), 1) for name in of[0]}


if __name__ == "__main__":
    main()
