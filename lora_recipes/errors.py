"""What goes wrong for users, in the one form in which every command reports it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Self

from lora_recipes.printable import line as brief

Wording = str
"""Words for people, a constant or a function's answer: used in messages and nowhere else."""


@dataclass(frozen=True)
class Place:
    """Where something stands in a file that the user wrote. Printed as `params.yaml:4`."""

    file: str
    line: int = 0
    """The first is 1; 0 means the file as a whole."""

    def __str__(self) -> str:
        return f"{self.file}:{self.line}" if self.line else self.file


MOST_PRINTED = 20
"""Problems that a command prints; of more, it says how many."""


LONGEST_PLACE = 4096 + 16
"""Letters of a path that a message shows, and a line's number behind it."""


@dataclass(frozen=True)
class Problem:
    """One thing that the user has to fix.

    Printed as::

        params.yaml:4: lora.rank = 0
          allowed: 1 to 1024
          fix:     choose a value in that range; the default is 128
    """

    what: str
    """What is wrong, with the value: `lora.rank = 0`."""

    fix: str
    """What to do now, a sentence or a command."""

    allowed: str = ""
    """What would be right. Empty where the fix says it all."""

    where: Place | str = ""
    """File and line, or the file alone."""

    def __str__(self) -> str:
        where = brief(str(self.where), LONGEST_PLACE)  # a file's name can hold a line end
        head = f"{where}: {self.what}" if where else self.what
        allowed = [f"  allowed: {self.allowed}"] if self.allowed else []
        return "\n".join([head, *allowed, f"  fix:     {self.fix}"])


def told(problems: Sequence[Problem]) -> list[str]:
    """The first problems as text, and how many more there are."""
    shown = [str(problem) for problem in problems[:MOST_PRINTED]]
    more = len(problems) - len(shown)
    return [*shown, f"{more:,} more: fix these first"] if more else shown


class UserError(Exception):
    """Problems with a recipe, data or files. The CLI prints them all and exits with `exit_code`."""

    exit_code = 1

    def __init__(self, problems: Problem | Iterable[Problem]) -> None:
        self.problems = (problems,) if isinstance(problems, Problem) else tuple(problems)
        assert self.problems, "a UserError needs at least one problem"
        super().__init__(self.problems)  # what another process's copy is made of

    @classmethod
    def of(cls, *, what: str, fix: str, allowed: str = "", where: Place | str = "") -> Self:
        """The error of one problem, by the fields of `Problem`."""
        return cls(Problem(what, fix, allowed, where))

    def __str__(self) -> str:
        return "\n".join(told(self.problems))


class CannotTell(UserError):
    """A question about the past that cannot be answered, because something is missing."""

    exit_code = 2
