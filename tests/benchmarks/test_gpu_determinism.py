"""That the check of a GPU's determinism can run; the pocket on a CPU stands in for the GPU."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks import gpu_determinism
from benchmarks.machine import REPOSITORY

POCKET = [
    "--device", "cpu", "--precision", "fp32", "--base", "pocket", "--resolution", "128",
    "--rank", "4", "--steps", "12",
]  # fmt: skip


@pytest.mark.parametrize(
    "more",
    [[], ["--checkpointing"], ["--checkpointing", "feed_forward", "--adapter-precision", "base"]],
)
def test_a_child_is_given_the_options_of_its_parent(tmp_path: Path, more: list[str]):
    chosen = gpu_determinism.arguments().parse_args([*POCKET, *more])
    command = gpu_determinism.child_command(tmp_path, chosen)
    child = gpu_determinism.arguments().parse_args(command[3:])
    assert vars(child) == vars(chosen) | {"child": tmp_path}


@pytest.mark.slow
def test_on_a_cpu_every_run_repeats_to_the_bit(tmp_path: Path):
    out = tmp_path / "figures.json"
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.gpu_determinism", *POCKET, "--json", str(out)],
        cwd=REPOSITORY, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    figures = json.loads(out.read_text())
    assert figures["repeats"] is True
    assert figures["repeats_after_kill"] is True
