"""The true SDXL with random weights on a GPU: every case a fresh process, the important ones first.

    python -m benchmarks.gpu --budget 540 --save             # what ten minutes allow
    python -m benchmarks.gpu --budget 540 --go-on FILE       # the next ten, into the same file
    python -m benchmarks.gpu --peer 'diffusers=script PATH/train_dreambooth_lora_sdxl.py …'
    python -m benchmarks.gpu --dry-run                            # on a CPU, with the pocket

Results are written after each case, so a machine that is taken away leaves what it has measured.
A peer is another trainer's own program, by path; in its words {steps}, {resolution}, {rank} and
{out} are filled in. It is watched by benchmarks/launch.py.
"""

from __future__ import annotations

import argparse
import json
import re
import shlex
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks import machine, pairs
from benchmarks.results import Result, free_path, summary, write
from lora_recipes.files import write_text
from lora_recipes.recipe.sections.compute import Checkpointing

FLOP = Path(__file__).parent / "flop.json"
"""TFLOP of one image's step, from `python -m benchmarks.gpu --count-flop`."""

STEPS = 40
PEER_WARM_UP = 5
NOT_STARTED_WITHOUT = 60.0
"""Seconds of the budget that must be left to start another case."""


@dataclass(frozen=True)
class Case:
    """What varies between cases."""

    resolution: int = 1024
    batch: int = 1
    rank: int = 32
    checkpointing: Checkpointing = False
    fast: bool = False
    adapter_precision: str = "fp32"

    def words(self, steps: int) -> list[str]:
        """The options of benchmarks.gpu_real_size."""
        options = {"resolution": self.resolution, "batch": self.batch, "rank": self.rank}
        words = [word for name, value in options.items() for word in (f"--{name}", str(value))]
        words += ["--steps", str(steps)]
        words += ["--checkpointing"] if self.checkpointing else []
        words += [self.checkpointing] if isinstance(self.checkpointing, str) else []
        words += ["--adapter-precision", self.adapter_precision]
        return words + (["--fast"] if self.fast else [])

    def __str__(self) -> str:
        words = [f"{self.resolution} px", f"batch {self.batch}", f"r{self.rank}"]
        words += [how_checkpointed(self.checkpointing)] if self.checkpointing else []
        words += ["adapter as base"] if self.adapter_precision == "base" else []
        return ", ".join([*words, "fast" if self.fast else "strict"])


def how_checkpointed(checkpointing: Checkpointing) -> str:
    """How a table tells gradient checkpointing."""
    return "feed-forward checkpointed" if checkpointing == "feed_forward" else "checkpointed"


def cases() -> list[Case]:
    """All of them: first the target's case and what differs from it in one thing, then the rest.

    The target's case comes twice: its two adapters have to be equal to the bit.
    """
    target = Case()
    near = [
        target, target, Case(fast=True), Case(checkpointing=True), Case(adapter_precision="base"),
        Case(batch=4), Case(rank=128), Case(resolution=512), Case(checkpointing="feed_forward"),
    ]  # fmt: skip
    every = [
        Case(resolution, batch, rank, checkpointing, fast)
        for resolution in (1024, 512)
        for batch in (1, 4)
        for rank in (32, 128)
        for checkpointing in (False, True)
        for fast in (False, True)
    ]
    return [*near, *(case for case in every if case not in near)]


def main() -> int:
    """Run what the budget allows; print, and keep it if asked to."""
    chosen = arguments().parse_args()
    if chosen.count_flop:
        write_text(FLOP, json.dumps(count_flop(), indent=1) + "\n")
        return 0
    before = json.loads(chosen.go_on.read_text("utf-8"))["rows"] if chosen.go_on else []
    todo = cases()[len(before) :]
    extra = ["--targets", "attention"]
    steps = STEPS
    if chosen.dry_run:
        todo = [Case(128, 1, 4), Case(128, 1, 4), Case(128, 1, 4, True, True)]
        extra += ["--base", "pocket", "--device", "cpu", "--precision", "fp32"]
        steps = 8
    name = "gpu-dry-run" if chosen.dry_run else "gpu"
    path = chosen.go_on or (free_path(name) if chosen.save else None)
    ceiling = matmul_ceiling(chosen.dry_run)

    def keep(rows: list[dict[str, Any]], notes: list[str]) -> Result:
        settings = {"steps": steps, "targets": "attention", "measured ceiling TFLOP/s": ceiling}
        every = [*before, *(with_share(row, ceiling) for row in rows)]
        result = Result(name, settings, every, notes)
        if path is not None:
            write(path, result)
        return result

    end = time.monotonic() + chosen.budget
    measures = [(str(case), lambda c=case: run_case(c, extra, steps)) for case in todo]
    measures += [_peer(text, steps) for text in chosen.peer]
    rows, left = run_all(measures, end, keep)
    notes = [
        *hash_notes([*before, *rows]),
        *([f"left out, the time being over: {left}"] if left else []),
    ]
    print(summary(keep(rows, notes)))
    return 1 if any("differ" in note for note in notes) else 0


def arguments() -> argparse.ArgumentParser:
    """What can be asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--budget", type=float, default=1140, help="seconds in all")
    parser.add_argument("--go-on", type=Path, metavar="FILE", help="a result to complete")
    parser.add_argument("--peer", action="append", default=[], metavar="NAME=KIND TARGET WORDS")
    parser.add_argument("--dry-run", action="store_true", help="a few steps of the pocket on a CPU")
    parser.add_argument("--count-flop", action="store_true", help="only write flop.json anew")
    parser.add_argument("--save", action="store_true", help="keep the result in results/")
    return parser


def run_all(
    measures: Sequence[tuple[str, Callable[[], dict[str, Any]]]],
    end: float,
    keep: Callable[[list[dict[str, Any]], list[str]], Result],
) -> tuple[list[dict[str, Any]], list[str]]:
    """One after the other until the time is over; a case that fails is a row that says so.

    Returns:
        The rows, and the names of what was not started.
    """
    rows: list[dict[str, Any]] = []
    for number, (name, measure) in enumerate(measures):
        if end - time.monotonic() < NOT_STARTED_WITHOUT:
            return rows, [name for name, _ in measures[number:]]
        try:
            rows.append({"case": name, **measure()})
        except pairs.RunFailed as error:
            rows.append({"case": name, "failed": str(error).strip().splitlines()[-1][:200]})
        print(rows[-1], file=sys.stderr)
        keep(rows, [])
    return rows, []


def run_case(case: Case, extra: Sequence[str], steps: int) -> dict[str, Any]:
    """One fresh process of benchmarks.gpu_real_size; its figures."""
    with tempfile.TemporaryDirectory() as folder:
        figures = Path(folder) / "figures.json"
        command = [sys.executable, "-m", "benchmarks.gpu_real_size", *case.words(steps), *extra]
        command += ["--json", str(figures), "--started", str(time.monotonic())]
        pairs.run(command, machine.REPOSITORY)
        found = json.loads(figures.read_text("utf-8"))
    names = ("ms_per_step", "images_per_s", "peak_GiB", "reserved_GiB", "import_s", "load_s",
             "set_up_s", "first_step_s", "adapter_sha256", "device")  # fmt: skip
    found["adapter_sha256"] = found["adapter_sha256"][:19]
    return {name.replace("_", " "): found[name] for name in names}


def _peer(text: str, steps: int) -> tuple[str, Callable[[], dict[str, Any]]]:
    name, _, words = text.partition("=")

    def measure() -> dict[str, Any]:
        with tempfile.TemporaryDirectory() as folder:
            marks = Path(folder) / "marks.json"
            filled = words.format(steps=steps, resolution=1024, rank=32, out=Path(folder) / "out")
            command = [sys.executable, "-m", "benchmarks.launch", str(marks), *shlex.split(filled)]
            usage = pairs.run(command, Path(folder), {"PYTHONPATH": str(machine.REPOSITORY)})
            return peer_figures(json.loads(marks.read_text("utf-8")), usage)

    return name, measure


def peer_figures(marks: dict[str, Any], usage: pairs.Usage) -> dict[str, Any]:
    """What launch.py's notes of a peer say, in the columns of our own cases."""
    clock = marks["clock"]
    per_step = (clock[-1] - clock[PEER_WARM_UP]) / (len(clock) - 1 - PEER_WARM_UP)
    return {
        "ms per step": round(1000 * per_step, 2),
        "images per s": round(1 / per_step, 2),
        "peak GiB": marks.get("peak_GiB"),
        "reserved GiB": marks.get("reserved_GiB"),
        "s to first step": round(clock[0] - usage.started, 2),
    }


def matmul_ceiling(dry_run: bool) -> float | None:
    """TFLOP/s of a large bf16 matrix product on this GPU: what all shares are shares of."""
    import torch

    if dry_run or not torch.cuda.is_available():
        return None
    edge, times = 8192, 30
    left, right = torch.randn(2, edge, edge, device="cuda", dtype=torch.bfloat16)
    start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    for count in (5, times):  # the first few warm it up
        start.record()
        for _ in range(count):
            left @ right
        end.record()
        end.synchronize()
    return round(times * 2 * edge**3 / (start.elapsed_time(end) / 1000) / 1e12, 1)


def with_share(row: dict[str, Any], ceiling: float | None) -> dict[str, Any]:
    """A row with the share of the measured ceiling that its step reaches, where that is known."""
    flop = tflop(row["case"])
    if ceiling is None or flop is None or "ms per step" not in row:
        return row
    return {**row, "share of ceiling": round(flop / (row["ms per step"] / 1000) / ceiling, 3)}


def tflop(case: str) -> float | None:
    """TFLOP of a case's step, counted on the meta device for one image; None for other names."""
    match = re.fullmatch(
        r"(1024 px|512 px), batch (\d+), (r32|r128)(, (?:feed-forward )?checkpointed)?"
        r"(?:, adapter as base)?, (?:strict|fast)",
        case,
    )
    if match is None:
        return None
    pixels, batch, rank, checkpointed = match.groups()
    known = json.loads(FLOP.read_text("utf-8"))
    return int(batch) * float(known[f"{pixels}, {rank}{checkpointed or ''}"])


def count_flop() -> dict[str, float]:
    """TFLOP of one image's step of every kind of case, counted without a GPU."""
    from benchmarks import meta

    return {
        f"{one.resolution} px, r{one.rank}"
        + (f", {how_checkpointed(one.checkpointing)}" if one.checkpointing else ""): (
            meta.measure(meta.Case(one.resolution, 1, one.rank, checkpointing=one.checkpointing))
        )["tflop"]
        for one in dict.fromkeys(cases())
        if one.batch == 1 and not one.fast
    }


def hash_notes(rows: Sequence[dict[str, Any]]) -> list[str]:
    """Whether strict cases that ran twice gave the same adapter."""
    seen: dict[str, set[str]] = {}
    counts: dict[str, int] = {}
    for row in rows:
        if "adapter sha256" in row and row["case"].endswith("strict"):
            seen.setdefault(row["case"], set()).add(row["adapter sha256"])
            counts[row["case"]] = counts.get(row["case"], 0) + 1
    return [
        f"{case}: {counts[case]} runs, adapters " + ("equal" if len(found) == 1 else "differ")
        for case, found in seen.items()
        if counts[case] > 1
    ]


if __name__ == "__main__":
    sys.exit(main())
