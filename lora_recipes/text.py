"""Text for people: columns, plurals, and lists that are cut off."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Sequence


def aligned(rows: Iterable[Sequence[str]], indent: str = "", width: int = 0) -> list[str]:
    """Rows as lines whose columns begin below each other, two spaces apart.

    >>> aligned([("steps", "40"), ("learning rate", "0.1")])
    ['steps          40', 'learning rate  0.1']

    Args:
        rows: of equally many cells each.
        indent: before each line.
        width: characters of a line; a longer last cell is wrapped below itself. 0 wraps nothing.
    """
    rows = list(rows)
    columns = list(zip(*rows, strict=True))[:-1]
    widths = [max(map(len, column)) for column in columns]
    lines = []
    for *cells, last in rows:
        head = indent + "".join(
            f"{cell:{size}}  " for cell, size in zip(cells, widths, strict=True)
        )
        lines.append(_wrapped(head, last, width) if width else (head + last).rstrip())
    return lines


def counted(number: float, noun: str, plural: str = "") -> str:
    """A number with its noun: `1 picture`, `1,200 pictures`, `0.5 epochs`."""
    shown = f"{number:,}" if isinstance(number, int) else f"{number:g}"
    return f"{shown} {noun if number == 1 else plural or noun + 's'}"


def first_few(items: Sequence[str], most: int, separator: str = ", ") -> str:
    """The first few of a list; the rest is counted.

    >>> first_few(["a", "b", "c", "d"], 2)
    'a, b and 2 more'
    """
    rest = len(items) - most
    return separator.join(items[:most]) + (f" and {rest:,} more" if rest > 0 else "")


def _wrapped(head: str, text: str, width: int) -> str:
    return textwrap.fill(
        head + text,
        width,
        subsequent_indent=" " * len(head),
        break_long_words=False,
        break_on_hyphens=False,
    )
