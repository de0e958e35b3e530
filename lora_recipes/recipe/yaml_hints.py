"""Hints at mistakes for which a YAML parser has only its own words, found in the text itself."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass

from lora_recipes.text import counted

_UNSPACED = re.compile(r"([A-Za-z_][\w.]*):(?!//|\\)([^\s:].*)")
"""Neither a web address nor a Windows path."""
_WORDS = re.compile(r"([A-Za-z_]\w*)(?:\s+([^:]*))?")

_BRACED = re.compile(r"(\s*[A-Za-z_][\w.]*): +([{\[].*?)\s*( #.*)?")
"""A text that starts as a mapping or a list of one line would."""

_ITEM = re.compile(r"\s*- +([{\[].*?)\s*( #.*)?")
_LISTED = re.compile(r"(\s*[A-Za-z_][\w.]*): +\[(.*\{.*)\]\s*( #.*)?")

_STRUCTURE = (
    "mapping values are not allowed",
    "could not find expected ':'",
    "expected <block end>, but found '<block",
    "expected '<document start>', but found ('<block",
)
"""What the parser says where a line does not fit those before it."""


@dataclass(frozen=True)
class Hint:
    """What is probably wrong, and where."""

    line: int
    """The first being 0."""

    what: str
    fix: str


def spaced(text: str) -> str | None:
    """`rank:8` as `rank: 8`; None where that is not what is wrong.

    >>> spaced("rank:8")
    'rank: 8'
    """
    match = _UNSPACED.fullmatch(text.strip())
    return f"{match[1]}: {match[2]}" if match and ": " not in match[2] else None


def hint(text: str, line: int, column: int, message: str) -> Hint | None:
    """What was probably meant where the parser stopped, or None for what its message tells.

    Args:
        text: the whole file.
        line: where the parser stopped, the first being 0. What is wrong may lie above.
        column: the first being 0.
        message: what the parser says.
    """
    lines = text.splitlines()
    here = lines[line] if line < len(lines) else ""
    found = _of_the_line(here, line, message)
    if found or not any(part in message for part in _STRUCTURE):
        return found
    if ": " in here[:column]:
        fix = "quote a text that holds a colon, and give each key a line of its own"
        return Hint(line, "there is a second colon", fix)
    written = [at for at in range(min(line + 1, len(lines))) if _says_something(lines[at])]
    for at in reversed(written[-2:]):
        if meant := spaced(lines[at].partition(" #")[0]):
            return Hint(at, "there is no space after the colon", f"write `{meant}`")
    above = next((at for at in reversed(written) if at < line), None)
    if above is not None and (match := _WORDS.fullmatch(lines[above].partition(" #")[0].strip())):
        meant = f"{match[1]}: {match[2]}" if match[2] else f"{match[1]}:"
        return Hint(above, "there is no colon", f"write `{meant}`")
    spaces = len(here) - len(here.lstrip())
    return Hint(
        line,
        f"its indentation, {counted(spaces, 'space')}, does not fit the lines above it",
        "indent all keys of a section alike, and more than the section's name",
    )


def _of_the_line(here: str, line: int, message: str) -> Hint | None:
    """What the message and the line where it arose tell by themselves."""
    if "'\\t'" in message:
        return Hint(line, "there is a tab", "write spaces, not tabs")
    if "expected <block end>, but found" in message and (braced := _BRACED.fullmatch(here)):
        key, text = braced[1].strip(), braced[2]
        meant = f"{key}: {json.dumps(text, ensure_ascii=False)}"
        return Hint(line, f"a text that starts with {text[0]} is not quoted", f"write `{meant}`")
    if "expected <block end>, but found" in message and (item := _ITEM.fullmatch(here)):
        meant = f"- {json.dumps(item[1], ensure_ascii=False)}"
        return Hint(line, f"a text that starts with {item[1][0]} is not quoted", f"write `{meant}`")
    if "expected ',' or ']'" in message and (listed := _LISTED.fullmatch(here)):
        texts = [text.strip() for text in listed[2].split(",")]
        shown = [t if t[:1] in "\"'" else json.dumps(t, ensure_ascii=False) for t in texts]
        meant = f"{listed[1].strip()}: [{', '.join(shown)}]"
        return Hint(line, "a text with { in a list is not quoted", f"write `{meant}`")
    return None


def _says_something(line: str) -> bool:
    return bool(line.strip()) and not line.lstrip().startswith("#")
