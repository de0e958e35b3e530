"""Ctrl-C and SIGTERM: at once with everything put away, or after the step that is at work."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

Handler = Callable[[int, Any], None]

WISHES = [
    getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)
]
"""Ctrl-C; a shutdown or a scheduler; a terminal that was closed, which Windows does not tell."""


class Stopped(KeyboardInterrupt):
    """Somebody wants this process to end: at a keyboard, or by SIGTERM, as a shutdown does."""

    def __init__(self, number: int, done: int = 0, steps: int = 0) -> None:
        """Say why and where.

        Args:
            number: the signal's.
            done: optimizer steps that are done and in a checkpoint.
            steps: of the whole training; 0 where nothing is trained.
        """
        super().__init__(number, done, steps)
        self.number, self.done, self.steps = number, done, steps


@dataclass
class Asked:
    """Whether, and by which signal, this process was asked to stop."""

    number: int = 0
    """The signal's; 0 while nobody asked."""


@contextmanager
def at_once() -> Iterator[None]:
    """`WISHES` end what runs here as Ctrl-C does: by an exception, so that all is put away."""

    def end(number: int, _: Any) -> None:
        raise Stopped(number)

    with _handled({number: end for number in WISHES if number != signal.SIGINT}):
        yield


@contextmanager
def when_asked() -> Iterator[Asked]:
    """`WISHES` interrupt nothing here and are noted; a second Ctrl-C ends at once."""
    asked, at_the_keyboard = Asked(), []

    def note(number: int, _: Any) -> None:
        asked.number = asked.number or number
        if number == signal.SIGINT:
            at_the_keyboard.append(number)
        if len(at_the_keyboard) > 1:
            raise Stopped(number)

    with _handled(dict.fromkeys(WISHES, note)):
        yield asked


@contextmanager
def _handled(handlers: dict[signal.Signals, Handler]) -> Iterator[None]:
    """Handle signals, except those that whoever started this process lets it ignore (`&`, nohup).

    Python handles signals in its main thread alone; elsewhere nothing is changed.
    """
    before = {}
    if threading.current_thread() is threading.main_thread():
        wanted = {n: h for n, h in handlers.items() if signal.getsignal(n) != signal.SIG_IGN}
        before = {number: signal.signal(number, handler) for number, handler in wanted.items()}
    try:
        yield
    finally:
        for number, old in before.items():
            signal.signal(number, old)
