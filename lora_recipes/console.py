"""What the user sees: rich progress on a terminal, plain lines in a log."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO

from lora_recipes.printable import printable, raw
from lora_recipes.reporting import Bar, NoBar, Reporter

QUIET_SECONDS = 5.0
"""A log gets no progress line before so much time has passed since the last one."""


class PlainReporter:
    """One line per message; for long pieces of work a line now and then."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream or sys.stderr

    def say(self, text: str) -> None:
        print(text, file=self._stream, flush=True)

    def warn(self, text: str) -> None:
        self.say(f"warning: {text}")

    @contextmanager
    def bar(self, title: str, total: int, done: int = 0) -> Iterator[Bar]:
        yield _PlainBar(self, title, total, done)


class _PlainBar:
    def __init__(self, reporter: PlainReporter, title: str, total: int, done: int) -> None:
        self._reporter, self._title, self._total = reporter, title, total
        self._first = self._done = done
        self._start = self._said = time.monotonic()

    def advance(self, count: int = 1, **figures: str) -> None:
        self._done += count
        now = time.monotonic()
        if now - self._said < QUIET_SECONDS:
            return
        self._said = now
        seconds = now - self._start
        left = seconds / max(self._done - self._first, 1) * (self._total - self._done)
        shown = "".join(f" · {name.replace('_', ' ')} {text}" for name, text in figures.items())
        self._reporter.say(f"{self._title} {self._done}/{self._total}{shown} · {left:.0f} s left")


class RichReporter:
    """Live bars on a terminal, with messages above them."""

    def __init__(self) -> None:
        from rich.console import Console

        # rich steers the terminal itself, so it gets the bare stream and texts made printable here
        self._console = Console(file=raw(sys.stderr), highlight=False)

    def say(self, text: str) -> None:
        self._console.print(printable(text), markup=False, soft_wrap=True)

    def warn(self, text: str) -> None:
        shown = f"warning: {printable(text)}"
        self._console.print(shown, style="yellow", markup=False, soft_wrap=True)

    @contextmanager
    def bar(self, title: str, total: int, done: int = 0) -> Iterator[Bar]:
        from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

        columns = (
            TextColumn("{task.description}"),
            BarColumn(bar_width=30),
            TextColumn("{task.completed:.0f}/{task.total:.0f}"),
            TextColumn("{task.fields[figures]}", style="dim"),
            TimeRemainingColumn(),
        )
        with Progress(*columns, console=self._console, transient=False) as progress:
            task = progress.add_task(printable(title), total=total, completed=done, figures="")
            yield _RichBar(progress, task)


class _RichBar:
    def __init__(self, progress, task) -> None:  # type: ignore[no-untyped-def]
        self._progress, self._task = progress, task

    def advance(self, count: int = 1, **figures: str) -> None:
        shown = " · ".join(f"{name.replace('_', ' ')} {text}" for name, text in figures.items())
        update = {"figures": printable(shown)} if figures else {}
        self._progress.update(self._task, advance=count, **update)


class SilentBarReporter(PlainReporter):
    """Messages without progress: `runtime.progress: off`."""

    @contextmanager
    def bar(self, title: str, total: int, done: int = 0) -> Iterator[Bar]:
        yield NoBar()


def reporter(progress: str = "auto") -> Reporter:
    """The reporter for `runtime.progress`: bar, plain, off, or auto (a bar on a terminal)."""
    if progress == "off":
        return SilentBarReporter()
    if progress == "bar" or (progress == "auto" and sys.stderr.isatty()):
        return RichReporter()
    return PlainReporter()
