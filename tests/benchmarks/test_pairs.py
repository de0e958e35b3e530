"""Pairs: fresh processes, in turn, by CPU time; the arithmetic of medians and ratios."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from benchmarks import pairs

BURN = "import time\nwhile time.process_time() < {}: pass"


def test_rounds_alternate_forwards_and_backwards():
    seen: list[str] = []
    names = "abc"
    results = pairs.alternate(
        {name: lambda name=name: seen.append(name) or len(seen) for name in names}, 3
    )
    assert "".join(seen) == "abc" + "cba" + "abc"
    assert results == {"a": [1, 6, 7], "b": [2, 5, 8], "c": [3, 4, 9]}


def test_the_ratio_is_taken_within_rounds_so_a_slow_round_counts_for_both():
    """In the second round the machine was four times slower; the ratio does not see it."""
    found = pairs.ratios([3.0, 12.0, 3.3], [2.0, 8.0, 2.0])
    assert (found.median, found.low, found.high) == (1.5, 1.5, 1.65)
    assert str(found) == "1.50 (1.50 to 1.65, n = 3)"


def test_the_spread_of_one_value_is_that_value():
    assert pairs.spread([2.0]) == pairs.Spread(2.0, 2.0, 2.0, (2.0, 2.0), 1)


def test_cpu_time_counts_finished_children_and_leaves_out_waiting(tmp_path: Path):
    code = (
        "import subprocess, sys, time\n"
        f"subprocess.run([sys.executable, '-c', {BURN.format(0.3)!r}], check=True)\n"
        "time.sleep(0.5)"
    )
    used = pairs.run([sys.executable, "-c", code], tmp_path)
    idle = pairs.run([sys.executable, "-c", "import time; time.sleep(0.5)"], tmp_path)
    assert used.cpu > idle.cpu + 0.25
    assert idle.wall >= 0.5 > idle.cpu
    assert used.peak_bytes > 2**20


def test_every_run_has_one_thread(tmp_path: Path, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "8")
    code = "import os, sys; sys.exit(os.environ['OMP_NUM_THREADS'] != '1')"
    pairs.run([sys.executable, "-c", code], tmp_path)


def test_a_command_that_fails_is_no_measurement_and_says_why(tmp_path: Path):
    code = "import sys; print('no such file'); sys.exit(3)"
    with pytest.raises(pairs.RunFailed, match=r"exited 3\nno such file"):
        pairs.run([sys.executable, "-c", code], tmp_path)
