"""What the user sees: rich progress on a terminal, plain lines in a log."""

from __future__ import annotations

import math
import os
import re
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from typing import TYPE_CHECKING, TextIO

from lora_recipes.printable import line, printable, raw, streams
from lora_recipes.reporting import Bar, NoBar, Reporter

if TYPE_CHECKING:
    from rich.progress import Progress, ProgressColumn, TaskID

QUIET_SECONDS = 5.0
"""A log gets no progress line before so much time has passed since the last one."""

FORMATS = {"loss": "{:.4f}", "learning_rate": "{:.3g}", "speed": "{:.2f} samples/s"}
"""How figures are written; words as they are."""

PROGRESS = re.compile(
    r"(?P<title>\S.*?) (?P<done>\d{1,9})/(?P<total>\d{1,9})(?: · (?P<figures>.*?))? · \d+ s left"
)
"""A line of progress as `PlainReporter` writes it, in this and in older commits."""

ESTIMATED_OVER = 3600.0
"""Seconds from whose steps the time left is foretold; a step may take minutes."""

WITHOUT_CURSOR = ("dumb", "unknown")
"""Terminals, by TERM, on which nothing can be drawn over."""


class PlainReporter:
    """One line per message; for long pieces of work a line now and then."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream or sys.stderr

    def say(self, text: str) -> None:
        print(text, file=self._stream, flush=True)

    def warn(self, text: str) -> None:
        self.say(f"warning: {text}")

    def loading(self, what: str) -> AbstractContextManager[object]:
        self.say(f"loading {what}")
        return nullcontext()

    @contextmanager
    def bar(self, title: str, total: int, done: int = 0) -> Iterator[Bar]:
        yield _PlainBar(self, title, total, done)


class _PlainBar:
    def __init__(self, reporter: PlainReporter, title: str, total: int, done: int) -> None:
        self._reporter, self._title, self._total = reporter, title, total
        self._first = self._done = float(done)
        self._start = self._said = time.monotonic()
        self._figures: Mapping[str, float | str] = {}

    def advance(self, count: float = 1, **figures: float | str) -> None:
        self._done += count
        self._figures = figures or self._figures
        now = time.monotonic()
        if now - self._said < QUIET_SECONDS:
            return
        self._said = now
        seconds = now - self._start
        left = seconds / ((self._done - self._first) or 1) * max(self._total - self._done, 0)
        how_far = f"{self._title} {whole(self._done)}/{self._total}"
        shown = [how_far, *figure_texts(self._figures), f"{left:.0f} s left"]
        self._reporter.say(" · ".join(shown))


class RichReporter:
    """Live bars on a terminal, with messages above them."""

    def __init__(self) -> None:
        from rich.console import Console

        # rich steers the terminal itself, so it gets the bare stream and texts made printable here
        self._console = Console(file=raw(sys.stderr), highlight=False, emoji=False)

    def say(self, text: str) -> None:
        self._console.print(printable(text), markup=False, soft_wrap=True)

    def warn(self, text: str) -> None:
        shown = f"warning: {printable(text)}"
        self._console.print(shown, style="yellow", markup=False, soft_wrap=True)

    @contextmanager
    def loading(self, what: str) -> Iterator[None]:
        from rich.text import Text

        with self._console.status(Text(f"loading {line(what)}"), refresh_per_second=4), streams():
            yield

    @contextmanager
    def bar(self, title: str, total: int, done: int = 0) -> Iterator[Bar]:
        with self.drawn(title, total, done) as bar:
            yield bar

    @contextmanager
    def drawn(
        self, title: str, total: int, done: int = 0, *, transient: bool = False
    ) -> Iterator[RichBar]:
        """A bar; a transient one leaves the screen at its end."""
        from rich.progress import Progress

        progress = Progress(
            *_columns(),
            console=self._console,
            transient=transient,
            expand=True,
            refresh_per_second=4,
            speed_estimate_period=ESTIMATED_OVER,
        )
        # rich takes what others print meanwhile and writes it itself: printable by `streams`
        with progress, streams():
            task = progress.add_task(line(title), total=total, completed=done, figures="")
            yield RichBar(progress, task)


class RichBar:
    """A bar of rich's."""

    def __init__(self, progress: Progress, task: TaskID) -> None:
        self._progress, self._task = progress, task

    def advance(self, count: float = 1, **figures: float | str) -> None:
        """As `Bar` has it."""
        if figures:
            self._progress.update(self._task, figures=line(" · ".join(figure_texts(figures))))
        self._progress.update(self._task, advance=count)

    def set(self, done: float, figures: str) -> None:
        """How far it is, as somebody else counts, with the figures as they are written there."""
        self._progress.update(self._task, completed=done, figures=line(figures))


def _columns() -> list[ProgressColumn]:
    """Title, bar, count and time left, whole on 40 columns; figures in what is left of the line."""
    from rich.progress import BarColumn, ProgressColumn, Task, TextColumn, TimeRemainingColumn
    from rich.table import Column
    from rich.text import Text

    class Count(ProgressColumn):
        def render(self, task: Task) -> Text:
            return Text(f"{whole(task.completed)}/{task.total:.0f}")

    def one_line(ratio: int | None = None) -> Column:
        return Column(no_wrap=True, overflow="ellipsis", ratio=ratio)

    figures = "{task.fields[figures]}"
    return [
        TextColumn("{task.description}", markup=False, table_column=one_line()),
        BarColumn(bar_width=20),
        Count(one_line()),
        TimeRemainingColumn(table_column=one_line()),
        TextColumn(figures, style="dim", markup=False, table_column=one_line(ratio=1)),
    ]


def figure_texts(figures: Mapping[str, float | str]) -> list[str]:
    """Figures by name: `loss 0.1234`."""
    texts = []
    for name, figure in figures.items():
        texts.append(f"{name.replace('_', ' ')} {FORMATS.get(name, '{}').format(figure)}")
    return texts


def whole(done: float) -> int:
    """The units that are wholly done; parts of them add up to a hair less than they are."""
    return math.floor(done + 1e-6)


class Following:
    """The lines of another process on a terminal: its lines of progress move one bar here."""

    def __init__(self, reporter: RichReporter) -> None:
        self._reporter = reporter
        self._open = ExitStack()
        self._drawn: tuple[str, int] | None = None
        self._bar: RichBar | None = None

    def say(self, text: str) -> None:
        found = PROGRESS.fullmatch(text.strip())
        if found is None:
            self.close()
            self._reporter.say(text)
            return
        what, done = (found["title"], int(found["total"])), int(found["done"])
        if self._bar is None or self._drawn != what:
            self.close()
            self._drawn = what
            drawn = self._reporter.drawn(*what, done, transient=True)
            self._bar = self._open.enter_context(drawn)
        self._bar.set(done, found["figures"] or "")

    def warn(self, text: str) -> None:
        self.close()
        self._reporter.warn(text)

    def loading(self, what: str) -> AbstractContextManager[object]:
        self.close()
        return self._reporter.loading(what)

    def bar(self, title: str, total: int, done: int = 0) -> AbstractContextManager[Bar]:
        self.close()
        return self._reporter.bar(title, total, done)

    def close(self) -> None:
        """Take the bar away: the other process says something else, or has ended."""
        self._bar = None
        self._open.close()


class SilentBarReporter(PlainReporter):
    """Messages without progress: `runtime.progress: off`."""

    @contextmanager
    def bar(self, title: str, total: int, done: int = 0) -> Iterator[Bar]:
        yield NoBar()


def reporter(progress: str = "auto") -> Reporter:
    """The reporter for `runtime.progress`: bar, plain, off, or auto (a bar on a terminal)."""
    if progress == "off":
        return SilentBarReporter()
    drawable = sys.stderr.isatty() and os.environ.get("TERM") not in WITHOUT_CURSOR
    if progress == "bar" or (progress == "auto" and drawable):
        return RichReporter()
    return PlainReporter()


@contextmanager
def follower(progress: str) -> Iterator[Reporter]:
    """A reporter for the lines of a process that runs below this one: with a bar where one is."""
    chosen = reporter(progress)
    if not isinstance(chosen, RichReporter):
        yield PlainReporter()
        return
    following = Following(chosen)
    try:
        yield following
    finally:
        following.close()
