"""How the floors below the CLI tell the user what happens, without printing themselves."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Protocol


class Bar(Protocol):
    """One running piece of work."""

    def advance(self, count: float = 1, **figures: float | str) -> None:
        """So many more units, or part of one, are done.

        Args:
            count: how many.
            figures: to show beside the bar from now on: loss, speed.
        """


class Reporter(Protocol):
    """Where messages and progress go: a terminal, a log, or a test's list."""

    def say(self, text: str) -> None:
        """Something worth a line."""

    def warn(self, text: str) -> None:
        """Something that the user should look at, though the work goes on."""

    def loading(self, what: str) -> AbstractContextManager[object]:
        """Say what is being loaded, within the block: it takes a while and cannot be counted."""

    def bar(self, title: str, total: int, done: int = 0) -> AbstractContextManager[Bar]:
        """Show the progress of `total` units of work, `done` of them before now."""


class NoBar:
    """The bar of who shows no progress."""

    def advance(self, count: float = 1, **figures: float | str) -> None:
        pass


@dataclass
class Quiet:
    """A reporter that keeps what it is told: for tests and for use as a library."""

    said: list[str] = field(default_factory=list)
    warned: list[str] = field(default_factory=list)

    def say(self, text: str) -> None:
        self.said.append(text)

    def warn(self, text: str) -> None:
        self.warned.append(text)

    def loading(self, what: str) -> AbstractContextManager[object]:
        return nullcontext()

    def bar(self, title: str, total: int, done: int = 0) -> AbstractContextManager[Bar]:
        return nullcontext(NoBar())
