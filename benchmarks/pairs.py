"""Comparing commands on a machine that others use too.

Each run is a fresh process with one thread. What is compared is the CPU time that the process and
its children took, which a busy neighbour lengthens far less than the clock. Runs alternate (A B,
B A, A B, …), so that a machine that warms up or fills up does so to both; the ratio is taken
within each round and its median over the rounds is the result. The same command under two names
gives the ratio that means nothing: the noise floor.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

ROUNDS = 7
"""The fewest rounds that a published figure rests on."""

THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")

RSS_UNIT = 1 if sys.platform == "darwin" else 1024
"""Bytes of one unit of `ru_maxrss`."""

Measured = TypeVar("Measured")


@dataclass(frozen=True)
class Usage:
    """What a finished process took, its finished children included."""

    cpu: float
    """Seconds, user and system."""
    wall: float
    """Seconds on the clock."""
    peak_bytes: int
    """The largest resident set of any one of its processes."""
    started: float
    """`time.monotonic()` just before the process began."""


@dataclass(frozen=True)
class Spread:
    """Some measurements of one thing."""

    median: float
    low: float
    """The smallest."""
    high: float
    """The largest."""
    quartiles: tuple[float, float]
    count: int

    def __str__(self) -> str:
        return f"{self.median:.2f} ({self.low:.2f} to {self.high:.2f}, n = {self.count})"


class RunFailed(Exception):
    """A measured command did not exit with 0; carries the end of what it said."""


def run(
    command: Sequence[str], folder: Path, environment: Mapping[str, str] | None = None
) -> Usage:
    """Run a command to its end with one thread.

    Args:
        command: the program and its arguments.
        folder: where it runs.
        environment: variables beside this process's own.

    Raises:
        RunFailed: it exited with another code than 0.
    """
    variables = {**os.environ, **dict.fromkeys(THREAD_VARIABLES, "1"), **(environment or {})}
    with tempfile.TemporaryFile() as said:
        started = time.monotonic()
        process = subprocess.Popen(
            command, cwd=folder, env=variables, stdout=said, stderr=subprocess.STDOUT
        )
        _, status, used = os.wait4(process.pid, 0)
        wall = time.monotonic() - started
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            said.seek(0)
            tail = said.read().decode("utf-8", "replace")[-2000:]
            raise RunFailed(f"{' '.join(command)} exited {process.returncode}\n{tail}")
    peak = used.ru_maxrss * RSS_UNIT
    return Usage(used.ru_utime + used.ru_stime, wall, peak, started)


def alternate(
    measures: Mapping[str, Callable[[], Measured]],
    rounds: int,
    say: Callable[[str], None] = lambda text: None,
) -> dict[str, list[Measured]]:
    """Measure several things in turn, forwards and backwards: A B C, C B A, A B C, …

    Args:
        measures: by name, what runs the thing once.
        rounds: how often each is run.
        say: is told each round's end.

    Returns:
        By name, one measurement per round.
    """
    results: dict[str, list[Measured]] = {name: [] for name in measures}
    for number in range(rounds):
        for name in order(list(measures), number):
            results[name].append(measures[name]())
        say(f"round {number + 1} of {rounds}")
    return results


def order(names: Sequence[str], number: int) -> list[str]:
    """The order of a round: every other one is backwards."""
    return list(names) if number % 2 == 0 else list(reversed(names))


def spread(values: Sequence[float]) -> Spread:
    """The median of some values and how far they lie apart."""
    quartiles = statistics.quantiles(values, n=4) if len(values) > 1 else [values[0]] * 3
    return Spread(
        statistics.median(values), min(values), max(values), (quartiles[0], quartiles[2]),
        len(values),
    )  # fmt: skip


def ratios(ours: Sequence[float], theirs: Sequence[float]) -> Spread:
    """How many times larger the one is than the other, round by round."""
    return spread([mine / other for mine, other in zip(ours, theirs, strict=True)])
