"""Our training step on a CPU beside a bare loop over the same model, and beside diffusers' script.

    python -m benchmarks.cpu_training
    python -m benchmarks.cpu_training --diffusers PATH --save

PATH is a checkout of https://github.com/huggingface/diffusers; its
examples/dreambooth/train_dreambooth_lora_sdxl.py runs unchanged, with the installed diffusers. All
train the same small SDXL on the same photos with the same settings: AdamW, batch 1, one thread,
fp32. Steps/s come from the CPU time between the end of an early step and the end of the last one,
so starting up and writing files are no part of it.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks import pairs, training_project
from benchmarks.machine import REPOSITORY
from benchmarks.results import Result, tell
from benchmarks.training_project import CAPTION, Settings
from lora_recipes.hashing import sha256_file

SCRIPT = Path("examples/dreambooth/train_dreambooth_lora_sdxl.py")
WARM_UP = 10
"""Steps that are not timed."""

OURS, AGAIN, BARE, THEIRS = "this project", "this project again", "bare loop", "diffusers' script"


@dataclass(frozen=True)
class Run:
    """What one process that trains took."""

    steps_per_second: float
    """Of CPU time."""
    cpu_to_first_step: float
    """CPU seconds from the process's start to the end of its first step."""
    wall_to_first_step: float
    peak_bytes: int


def measure_run(usage: pairs.Usage, marks: dict[str, list[float]], steps: int) -> Run:
    """Make figures of one process's marks.

    Args:
        usage: of the whole process.
        marks: `cpu` and `clock`, the seconds at which each optimizer step ended.
        steps: how many steps were asked for; fewer or more is a mistake of the harness.
    """
    cpu, clock = marks["cpu"], marks["clock"]
    assert len(cpu) == steps > WARM_UP, f"{len(cpu)} steps ran instead of {steps}"
    rate = (steps - WARM_UP) / (cpu[-1] - cpu[WARM_UP - 1])
    return Run(rate, cpu[0], clock[0] - usage.started, usage.peak_bytes)


def commands(
    model: Path, root: Path, chosen: Settings, script: Path | None
) -> dict[str, list[str]]:
    """What is run, by name: the words after `python -m benchmarks.launch marks.json`."""
    found = {
        OURS: ["module", "lora_recipes", "stage", "train"],
        BARE: ["module", "benchmarks.bare_loop", str(chosen.steps)],
        THEIRS: ["script", str(script), *_their_options(model, root, chosen)],
        AGAIN: ["module", "lora_recipes", "stage", "train"],
    }
    if script is None:
        del found[THEIRS]
    return found


def _their_options(model: Path, root: Path, chosen: Settings) -> list[str]:
    options = {
        "pretrained_model_name_or_path": model,
        "instance_data_dir": root / "data" / "photos",
        "instance_prompt": CAPTION,
        "output_dir": root / "theirs",
        "resolution": chosen.resolution,
        "rank": chosen.rank,
        "train_batch_size": 1,
        "gradient_accumulation_steps": 1,
        "max_train_steps": chosen.steps,
        "learning_rate": chosen.learning_rate,
        "lr_scheduler": "constant",
        "lr_warmup_steps": 0,
        "optimizer": "AdamW",
        "adam_weight_decay": chosen.weight_decay,
        "max_grad_norm": 1.0,
        "mixed_precision": "no",
        "checkpointing_steps": 10_000_000,
        "dataloader_num_workers": 0,
        "seed": 0,
    }
    words = [[f"--{name}", str(value)] for name, value in options.items()]
    return [word for pair in words for word in pair] + ["--center_crop"]


def measure(root: Path, chosen: Settings, script: Path | None, rounds: int) -> Result:
    """Prepare one project and train in it again and again, in turn."""
    before = training_project.make(root, chosen)
    model = root / "models" / chosen.model
    measures: dict[str, Callable[[], Run]] = {
        name: partial(train_once, root, words, chosen.steps)
        for name, words in commands(model, root, chosen, script).items()
    }
    measures[OURS]()  # compiles modules; nobody waits for that twice
    runs = pairs.alternate(measures, rounds, say=lambda text: print(text, file=sys.stderr))
    settings = {
        "model": chosen.model,
        "resolution": chosen.resolution,
        "rank": chosen.rank,
        "batch": 1,
        "optimizer": "adamw",
        "steps": chosen.steps,
        "rounds": rounds,
        "threads": 1,
    }
    if script is not None:
        settings["their script"] = sha256_file(script)[:19]
    raw = {name: [vars(run) for run in found] for name, found in runs.items()}
    return Result("cpu-training", settings, rows(runs), _notes(before, script), raw)


def train_once(root: Path, words: list[str], steps: int) -> Run:
    """One fresh process that trains."""
    marks = root / "marks.json"
    marks.unlink(missing_ok=True)
    command = [sys.executable, "-m", "benchmarks.launch", str(marks), *words]
    usage = pairs.run(command, root, {"PYTHONPATH": str(REPOSITORY)})
    return measure_run(usage, json.loads(marks.read_text("utf-8")), steps)


def rows(runs: dict[str, list[Run]]) -> list[dict[str, Any]]:
    """A table: medians, and how much faster this project is, round by round."""
    rates = {name: [run.steps_per_second for run in found] for name, found in runs.items()}
    return [
        {
            "who": name,
            "steps/s (CPU)": pairs.spread(rates[name]).median,
            "ours is faster by": None if name == OURS else str(pairs.ratios(rates[OURS], values)),
            "CPU s to first step": pairs.spread([r.cpu_to_first_step for r in found]).median,
            "clock s to first step": pairs.spread([r.wall_to_first_step for r in found]).median,
            "peak MiB": round(pairs.spread([r.peak_bytes for r in found]).median / 2**20),
        }
        for (name, found), values in zip(runs.items(), rates.values(), strict=True)
    ]


def _notes(before: float, script: Path | None) -> list[str]:
    found = [
        f"ours and the bare loop read what `dataset`, `prepare` and `encode` made once for this "
        f"data set, in {before:.1f} CPU s; diffusers' script encodes its captions at each start "
        "and its pictures at each step",
        f"`{AGAIN}` is the noise floor: the same command under another name",
    ]
    if script is None:
        found.append("diffusers' script was not measured: no checkout was given")
    return found


def main() -> int:
    """Measure, print, and keep the result if asked to."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="miniature", choices=["miniature", "deep", "pocket"])
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--rounds", type=int, default=pairs.ROUNDS)
    parser.add_argument("--photos", type=Path, help="a folder of pictures; drawn ones otherwise")
    parser.add_argument("--diffusers", type=Path, metavar="PATH", help="a checkout of diffusers")
    parser.add_argument("--save", action="store_true", help="keep the result in results/")
    chosen = parser.parse_args()
    script = chosen.diffusers.resolve() / SCRIPT if chosen.diffusers else None
    if script is not None and not script.is_file():
        parser.error(f"--diffusers: there is no {SCRIPT} in {chosen.diffusers}")
    settings = Settings(chosen.model, chosen.steps, photos=chosen.photos)
    with tempfile.TemporaryDirectory() as folder:
        result = measure(Path(folder) / "project", settings, script, chosen.rounds)
    tell(result, chosen.save)
    return 0


if __name__ == "__main__":
    sys.exit(main())
