"""What the commands that load no model cost: CPU seconds of the whole process.

python -m benchmarks.quick              # some minutes; --save keeps the result
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from functools import partial
from pathlib import Path

from benchmarks import pairs
from benchmarks.results import Result, tell

TARGETS = {"validate": 0.35, "explain": 0.35, "inspect": 0.35, "plan": 1.2, "dvc repro": 1.0}
"""CPU seconds."""

AGAIN = "validate again"
"""The same command under another name: its ratio to the first is the noise."""

ADAPTER = "adapter.safetensors"


def commands() -> dict[str, list[str]]:
    """What is measured, by name."""
    python = [sys.executable, "-m"]
    return {
        "validate": [*python, "lora_recipes", "validate"],
        AGAIN: [*python, "lora_recipes", "validate"],
        "explain": [*python, "lora_recipes", "explain"],
        "inspect": [*python, "lora_recipes", "inspect", ADAPTER],
        "plan": [*python, "lora_recipes", "plan"],
        "dvc repro": [*python, "dvc", "repro"],
        "dvc status": [*python, "dvc", "status"],
    }


def measure(root: Path, rounds: int) -> Result:
    """Run each command in a project that has nothing to do, in turn, `rounds` times."""
    measures, notes = {}, []
    for name, command in commands().items():
        try:
            pairs.run(command, root)  # compiles modules and fills caches; that comes only once
            measures[name] = partial(pairs.run, command, root)
        except pairs.RunFailed as error:
            notes.append(f"`{name}` is not measured: {str(error).splitlines()[-1]}")
    used = pairs.alternate(measures, rounds, say=lambda text: print(text, file=sys.stderr))
    seconds = {name: [usage.cpu for usage in runs] for name, runs in used.items()}
    rows = []
    for name, values in seconds.items():
        found, target = pairs.spread(values), TARGETS.get(name)
        rows.append(
            {
                "command": name,
                "CPU s": found.median,
                "smallest": found.low,
                "largest": found.high,
                "n": found.count,
                "target": target,
                "met": None if target is None else found.median <= target,
            }
        )
    noise = pairs.ratios(seconds[AGAIN], seconds["validate"])
    notes += [
        f"noise: the same command against itself gives {noise}",
        "`dvc repro` is DVC's own work, with nothing to do; no line of this project runs in it",
    ]
    return Result("quick", {"rounds": rounds}, rows, notes, {"cpu_seconds": seconds})


def write_adapter(path: Path) -> None:
    """An adapter file with as many tensors as one for SDXL's attentions has."""
    import torch

    from lora_recipes.tensors import write_tensors

    parts = {"lora_down.weight": (4, 8), "lora_up.weight": (8, 4), "alpha": ()}
    blocks = ("input_blocks_4_1", "middle_block_1", "output_blocks_0_1", "output_blocks_1_1")
    leaves = [f"attn{n}_{leaf}" for n in (1, 2) for leaf in ("to_q", "to_k", "to_v", "to_out_0")]
    names = [
        f"lora_unet_{block}_transformer_blocks_{depth}_{leaf}"
        for block in blocks
        for depth in range(17)
        for leaf in leaves
    ]
    shapes = {f"{name}.{part}": shape for name in names for part, shape in parts.items()}
    write_tensors(path, {name: torch.zeros(shape) for name, shape in shapes.items()}, {})


def main() -> int:
    """Measure in a throw-away project whose stages are stand-ins, all of them up to date."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=pairs.ROUNDS)
    parser.add_argument("--save", action="store_true", help="keep the result in results/")
    chosen = parser.parse_args()
    from tests.pipeline.project import make_project

    with tempfile.TemporaryDirectory() as folder:
        project = make_project(Path(folder) / "project", {}, stand_ins=True)
        project.repro()
        write_adapter(project.root / ADAPTER)
        result = measure(project.root, chosen.rounds)
    tell(result, chosen.save)
    return 0


if __name__ == "__main__":
    sys.exit(main())
