"""What holds for every input, whoever made it, and how long it is looked for.

A command ends in a right result or in the house's own error: no other exception, no endless work,
no memory without bounds, nothing on the terminal that steers it or forges a line, and nothing of
the environment. Each test says what a right result is.

By default the inputs are the same in every run. With LORA_RECIPES_FUZZ=<factor> they are random
and so many times as many; hypothesis prints the seed and the smallest input that fails.
"""

from __future__ import annotations

import contextlib
import io
import os
import resource
import signal
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

from hypothesis import HealthCheck, Phase, settings

from lora_recipes.errors import MOST_PRINTED, UserError
from lora_recipes.printable import streams
from tests.test_printable import steers

FACTOR = float(os.environ.get("LORA_RECIPES_FUZZ", "0"))
"""How many times as many examples, at random; 0: the usual ones, always the same."""

SECRETS = {"HF_TOKEN": "hf_NeverToBeSeen0123456789", "FUZZ_NUMBER": "918273645"}
"""What stands in the environment, and in no output."""

FORGED = "FORGED: all is well"
"""Hostile texts hold it behind a line end; no line that is printed begins with it."""

MOST_LETTERS, MOST_OF_A_PROBLEM = 100_000, 12_000
"""Letters of all that a command prints, and of one problem; a few values of 4,096 are shown whole.
"""

WAITING = 20
"""How many times longer than its processor time an example may take on a busy machine."""


def fuzz(examples: int) -> settings:
    """How a test looks for inputs: so many of them by default."""
    return settings(
        max_examples=max(1, int(examples * (FACTOR or 1))),
        derandomize=not FACTOR,
        database=None,
        deadline=None,  # processor time is limited instead
        print_blob=bool(FACTOR),
        phases=(Phase.explicit, Phase.generate, Phase.shrink),
        suppress_health_check=list(HealthCheck),
    )


@dataclass(frozen=True)
class Outcome:
    """How a command ended."""

    value: Any
    """What it gave; None after an error."""

    error: UserError | None
    printed: str
    """All that it wrote, the error too."""


class Hang(BaseException):
    """More time than any input of its kind may take."""


def outcome(command: Callable[[], Any], seconds: float = 2, mebibytes: int = 256) -> Outcome:
    """Run a command as the command line does, and hold what every input is held to.

    Args:
        command: prints, or gives what it would print.
        seconds: of processor time.
        mebibytes: of memory more than before.
    """
    written = io.StringIO()
    value, error = None, None
    with (
        mock.patch.dict(os.environ, SECRETS),
        contextlib.redirect_stdout(written),
        contextlib.redirect_stderr(written),
        streams(),
        _at_most(seconds, mebibytes),
    ):
        try:
            value = command()
        except UserError as caught:
            error = caught
            print(error)
    printed = written.getvalue()
    hold(printed)
    if error is not None:
        hold_error(error)
    return Outcome(value, error, printed)


def hold(printed: str) -> None:
    """What is printed steers no terminal, forges no line, and tells nothing of the environment."""
    assert not steers(printed), steers(printed)
    forged = [line for line in printed.splitlines() if line.strip().startswith(FORGED)]
    assert not forged, printed
    for secret in SECRETS.values():
        assert secret not in printed, printed
    assert len(printed) <= MOST_LETTERS, len(printed)


def hold_error(error: UserError) -> None:
    """An error names what is wrong and the way out, each in so many letters."""
    for problem in error.problems[:MOST_PRINTED]:
        assert problem.what.strip(), problem
        assert problem.fix.strip(), problem
        assert len(str(problem)) <= MOST_OF_A_PROBLEM, str(problem)[:500]


@contextlib.contextmanager
def _at_most(seconds: float, mebibytes: int) -> Iterator[None]:
    def stop(number: int, frame: Any) -> None:
        raise Hang(f"more than {seconds} s")

    before = [signal.signal(kind, stop) for kind in (signal.SIGPROF, signal.SIGALRM)]
    limits = resource.getrlimit(resource.RLIMIT_AS)
    if size := _memory():
        resource.setrlimit(resource.RLIMIT_AS, (size + mebibytes * 2**20, limits[1]))
    signal.setitimer(signal.ITIMER_PROF, seconds)
    signal.setitimer(signal.ITIMER_REAL, WAITING * seconds)  # waiting takes no processor
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.setitimer(signal.ITIMER_REAL, 0)
        resource.setrlimit(resource.RLIMIT_AS, limits)
        for kind, handler in zip((signal.SIGPROF, signal.SIGALRM), before, strict=True):
            signal.signal(kind, handler)


def _memory() -> int:
    """Bytes of this process' addresses; 0 where the system does not say so."""
    if not sys.platform.startswith("linux"):
        return 0
    pages = int(Path("/proc/self/statm").read_text("ascii").split()[0])
    return pages * resource.getpagesize()
