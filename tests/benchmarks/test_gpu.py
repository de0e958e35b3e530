"""The GPU benchmark's plan and arithmetic; that it runs at all is shown with the pocket."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from itertools import count
from pathlib import Path

import pytest

from benchmarks import gpu, gpu_real_size
from benchmarks.machine import REPOSITORY
from benchmarks.pairs import RunFailed, Usage
from benchmarks.results import Result


def test_every_combination_is_a_case_and_the_target_comes_first_and_twice():
    every = gpu.cases()
    assert every[0] == every[1] == gpu.Case(1024, 1, 32, checkpointing=False, fast=False)
    plain = {case for case in every if case.checkpointing != "feed_forward"}
    plain = {case for case in plain if case.adapter_precision == "fp32"}
    assert len(plain) == 2 * 2 * 2 * 2 * 2
    assert len(set(every)) == len(plain) + 2 == len(every) - 1


@pytest.mark.parametrize("case", dict.fromkeys(gpu.cases()), ids=str)
def test_a_cases_options_are_those_of_the_benchmark_that_runs_it(case):
    chosen = gpu_real_size.arguments().parse_args(case.words(8))
    assert (chosen.checkpointing, chosen.fast) == (case.checkpointing, case.fast)
    assert (chosen.adapter_precision, chosen.rank) == (case.adapter_precision, case.rank)


def test_the_share_of_the_ceiling_is_flop_per_second_over_the_measured_ceiling():
    row = {"case": "1024 px, batch 4, r32, strict", "ms per step": 200.0}
    one = gpu.tflop("1024 px, batch 1, r32, strict")
    assert one == pytest.approx(14.70, abs=0.01)  # counted independently, reference: 14.70
    shared = gpu.with_share(row, ceiling=700.0)["share of ceiling"]
    assert shared == pytest.approx(4 * one / 0.2 / 700, abs=1e-3)
    assert gpu.with_share(row, None) == row
    assert "share of ceiling" not in gpu.with_share({"case": "a peer", "ms per step": 1.0}, 700.0)


def test_every_case_has_its_flop():
    assert None not in [gpu.tflop(str(case)) for case in gpu.cases()]


def test_two_strict_runs_must_give_the_same_adapter_and_fast_ones_need_not():
    def row(case: str, sha: str) -> dict[str, str]:
        return {"case": case, "adapter sha256": sha}

    rows = [row("a, strict", "1"), row("a, strict", "1"), row("b, strict", "1"),
            row("b, strict", "2"), row("c, fast", "1"), row("c, fast", "2")]  # fmt: skip
    assert gpu.hash_notes(rows) == [
        "a, strict: 2 runs, adapters equal",
        "b, strict: 2 runs, adapters differ",
    ]


def test_a_failed_case_is_a_row_and_each_row_is_kept_at_once():
    def fail() -> dict[str, float]:
        raise RunFailed("x exited 1\nout of memory")

    kept: list[int] = []

    def keep(rows: list, notes: list) -> Result:
        kept.append(len(rows))
        return Result("gpu", {}, rows)

    measures = [("one", lambda: {"ms per step": 1.0}), ("two", fail)]
    rows, left = gpu.run_all(measures, time.monotonic() + 1000, keep)
    assert rows == [
        {"case": "one", "ms per step": 1.0},
        {"case": "two", "failed": "out of memory"},
    ]
    assert kept == [1, 2]
    assert left == []


def test_no_case_is_started_that_the_budget_may_not_last_for(monkeypatch):
    ticks = count(0, 50)
    monkeypatch.setattr(gpu.time, "monotonic", lambda: next(ticks))
    measures = [(name, dict) for name in "abcd"]
    rows, left = gpu.run_all(measures, 130, lambda rows, notes: Result("gpu", {}, rows))
    assert [row["case"] for row in rows] == ["a", "b"]
    assert left == ["c", "d"]


def test_a_peers_step_time_leaves_its_first_steps_out():
    clock = [109.0, *(110.0 + 0.5 * step for step in range(20))]
    found = gpu.peer_figures({"clock": clock}, Usage(1.0, 2.0, 3, started=100.0))
    assert found["ms per step"] == 500.0
    assert found["s to first step"] == 9.0


@pytest.mark.slow
def test_the_whole_command_runs_on_a_cpu_and_strict_runs_repeat(tmp_path: Path):
    out = tmp_path / "result.json"
    out.write_text(json.dumps({"rows": []}))
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.gpu", "--dry-run", "--go-on", str(out)],
        cwd=REPOSITORY, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    content = json.loads(out.read_text())
    assert [row["case"] for row in content["rows"]] == [
        "128 px, batch 1, r4, strict",
        "128 px, batch 1, r4, strict",
        "128 px, batch 1, r4, checkpointed, fast",
    ]
    assert all(row["ms per step"] > 0 and row["first step s"] > 0 for row in content["rows"])
    assert content["notes"] == ["128 px, batch 1, r4, strict: 2 runs, adapters equal"]
