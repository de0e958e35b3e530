"""Does a training on a GPU repeat to the bit, also after a kill, and what does strictness cost?

Every run is the train stage in a process of its own, on SDXL's true configuration with random
weights and random encoded pictures; nothing is downloaded. On a GPU, in a few minutes:

    python -m benchmarks.gpu_determinism --json figures.json

The same on a CPU, to see that it works:

    python -m benchmarks.gpu_determinism --base pocket --resolution 128 --steps 12 \\
        --device cpu --precision fp32
"""

from __future__ import annotations

import argparse
import json
import signal
import subprocess
import sys
import tempfile
import time
from argparse import Namespace
from pathlib import Path
from typing import Any

import torch

from benchmarks import gpu_real_size
from lora_recipes.base.compute import device_name
from lora_recipes.formats.drift import drift
from lora_recipes.hashing import sha256_file

REPOSITORY = Path(__file__).resolve().parent.parent
ADAPTER = "out/adapter.safetensors"
POCKET = {"base": "pocket", "resolution": 128, "precision": "fp32", "steps": 20, "rank": 8}
"""The training that a CPU and a GPU can both do: where their drift is measured."""
LONGEST = 90
"""Seconds for one run. A machine that needs more is not what this is for."""


def main() -> int:
    """Run everything, print a table; 1 if a promise does not hold."""
    chosen = arguments().parse_args()
    if chosen.child:
        print(json.dumps(gpu_real_size.measure(chosen.child, chosen)))
        return 0
    if chosen.device == "cuda" and not torch.cuda.is_available():
        print("this torch sees no CUDA device; a dry run: see --help", file=sys.stderr)
        return 2
    start = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        figures = compare(Path(folder), chosen)
    figures["seconds"] = round(time.monotonic() - start)
    width = max(map(len, figures))
    print("\n".join(f"{name:{width}}  {value}" for name, value in figures.items()))
    if chosen.json:
        chosen.json.write_text(json.dumps(figures, indent=1) + "\n", "utf-8")
    return 0 if figures["repeats"] and figures["repeats_after_kill"] else 1


def arguments() -> argparse.ArgumentParser:
    """As in `gpu_real_size`, with fewer steps and always a named device."""
    parser = gpu_real_size.arguments()
    parser.description = __doc__
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.set_defaults(steps=20, device="cuda")
    parser.add_argument("--child", type=Path, help=argparse.SUPPRESS)
    return parser


def compare(folder: Path, chosen: Namespace) -> dict[str, Any]:
    """All runs, one after the other."""
    first = run(folder / "first", chosen)
    again = run(folder / "again", chosen)
    kill_half_way(folder / "killed", chosen)
    resumed = run(folder / "killed", chosen)
    fast = run(folder / "fast", chosen, deterministic=False)
    figures = {
        "device": device_name(torch.device(chosen.device)),
        "torch": f"{torch.__version__}, CUDA {torch.version.cuda or 'none'}",
        **{key: first[key] for key in ("base", "resolution", "rank", "precision", "steps")},
        "sha256": first["sha256"],
        "repeats": again["sha256"] == first["sha256"],
        "repeats_after_kill": resumed["sha256"] == first["sha256"],
        "strict_ms_per_step": first["ms_per_step"],
        "fast_ms_per_step": fast["ms_per_step"],
        "strictness_costs": f"{first['ms_per_step'] / fast['ms_per_step'] - 1:+.1%}",
        "strict_peak_GiB": first["peak_GiB"],
        "fast_peak_GiB": fast["peak_GiB"],
        "fast_to_strict_drift": delta(folder / "first", folder / "fast"),
    }
    figures["cpu_to_gpu_drift"] = "skipped: this run has no GPU"
    if chosen.device == "cuda":
        pocket = Namespace(**{**vars(chosen), **POCKET})
        run(folder / "pocket on the GPU", pocket)
        run(folder / "pocket on the CPU", Namespace(**{**vars(pocket), "device": "cpu"}))
        apart = delta(folder / "pocket on the CPU", folder / "pocket on the GPU")
        figures["cpu_to_gpu_drift"] = f"{apart} (the pocket, fp32, {POCKET['steps']} steps)"
    figures["eager_to_compiled_drift"] = "skipped: the product trains eagerly only"
    return figures


def run(root: Path, chosen: Namespace, deterministic: bool = True) -> dict[str, Any]:
    """Train in a new process, from the start or from the checkpoint that a kill left."""
    if not root.exists():
        prepare(root, chosen, deterministic)
    command = child_command(root, chosen)
    done = subprocess.run(
        command, cwd=REPOSITORY, stdout=subprocess.PIPE, text=True, check=True, timeout=LONGEST
    )
    figures: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return figures | {"sha256": sha256_file(root / ADAPTER)}


def kill_half_way(root: Path, chosen: Namespace) -> None:
    """Start a training and kill it, hard, once it has a checkpoint of its middle."""
    prepare(root, chosen, deterministic=True)
    params = json.loads((root / "params.yaml").read_text("utf-8"))
    params["runtime"]["checkpoint_every"] = max(1, chosen.steps // 2)
    (root / "params.yaml").write_text(json.dumps(params), "utf-8")
    process = subprocess.Popen(
        child_command(root, chosen), cwd=REPOSITORY, stdout=subprocess.DEVNULL
    )
    deadline = time.monotonic() + LONGEST
    while not list(root.glob(".lora/checkpoints/*/step-*.json")):
        assert process.poll() is None, "the training ended before it could be killed"
        assert time.monotonic() < deadline, "the training is too slow"
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (root / ADAPTER).exists(), "killed too late"


def prepare(root: Path, chosen: Namespace, deterministic: bool) -> None:
    """The project that the stages before training would leave."""
    root.mkdir(parents=True)
    gpu_real_size.make_project(root, chosen)
    resolved = json.loads((root / "resolved.yaml").read_text("utf-8"))
    resolved["compute"]["deterministic"] = deterministic
    (root / "resolved.yaml").write_text(json.dumps(resolved), "utf-8")


def child_command(root: Path, chosen: Namespace) -> list[str]:
    """This module again, for one run."""
    own = ("child", "json", "checkpointing", "fast", "started")
    words = [
        word
        for key, value in vars(chosen).items()
        if key not in own
        for word in (f"--{key.replace('_', '-')}", str(value))
    ]
    words += ["--checkpointing"] if chosen.checkpointing else []
    words += [chosen.checkpointing] if isinstance(chosen.checkpointing, str) else []
    return [sys.executable, "-m", "benchmarks.gpu_determinism", "--child", str(root), *words]


def delta(before: Path, after: Path) -> str:
    """How far ΔW is apart: relative L2."""
    return f"{drift(before / ADAPTER, after / ADAPTER).delta_relative_l2:.2e}"


if __name__ == "__main__":
    sys.exit(main())
