"""Text that is safe to print: what could steer a terminal is shown as an escape.

Names and texts of a stranger's file (a tensor's name, a picture's, a recipe's key) are printed by
every command. Control characters in them could clear the screen, set the window's title or
overwrite a line; marks of writing direction could show a name backwards; half of a surrogate pair
cannot be written at all. The command line prints through `streams`, so no place can forget it.

Source: The Unicode Standard 15.0, section 4.5 (general categories); RFC 8259, section 7.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TextIO

LONGEST = 300
"""Characters of a name that is told in a line; the longest in SDXL's files has 130."""

# Controls, marks of direction and of lines, other invisible ones, halves of surrogate pairs. The
# joiners U+200C and U+200D are left: Persian words and emoji are made with them.
_STEERS = re.compile(
    "[\x00-\x1f\x7f-\x9f\xad\u0600-\u0605\u061c\u06dd\u070f\u0890\u0891\u08e2\u180e\u200b\u200e\u200f"
    "\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\ufffe\uffff\ud800-\udfff\U000110bd\U000110cd"
    "\U00013430-\U0001343f\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e007f]"
)
_STEERS_BUT_LAYOUT = re.compile(f"(?![\n\t]){_STEERS.pattern}")


def line(text: str, most: int = LONGEST) -> str:
    """A stranger's text within one line, cut: line ends and tabs in it are escaped too."""
    shown = text if len(text) <= most else text[: most - 1] + "…"
    return _STEERS.sub(_escape, shown)


def printable(text: str) -> str:
    """A text with its own line ends and tabs, and everything else that steers as `\\x1b`."""
    return _STEERS_BUT_LAYOUT.sub(_escape, text)


def json_text(value: Any) -> str:
    """A value as JSON, indented: the same value when it is read, and safe to print.

    JSON has no infinity and no nan; a number that is not finite becomes its name, "inf" or "nan".
    """
    text = json.dumps(finite(value), indent=1, ensure_ascii=False, allow_nan=False)
    return _STEERS_BUT_LAYOUT.sub(_escape_in_json, text)


def finite(value: Any) -> Any:
    """A value as JSON has it: tuples as lists, numbers that are not finite by their names."""
    if isinstance(value, dict):
        return {key: finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [finite(item) for item in value]
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


def _escape(found: re.Match[str]) -> str:
    return found[0].encode("unicode_escape").decode()


def _escape_in_json(found: re.Match[str]) -> str:
    return "\\u007f" if found[0] == "\x7f" else json.dumps(found[0])[1:-1]


class NotPrinted(OSError):
    """What was to be printed could not be written: the disk that it goes to is full, say."""


@contextlib.contextmanager
def _writing() -> Iterator[None]:
    try:
        yield
    except BrokenPipeError:
        raise  # its reader has had enough, which is no fault
    except OSError as error:
        raise NotPrinted(error.errno, error.strerror) from error


class Printable:
    """A text stream that escapes what steers, and what its encoding does not have."""

    def __init__(self, stream: TextIO) -> None:
        self.raw = stream

    def write(self, text: str) -> int:
        """Write the text; how long it was, as streams answer."""
        encoding = getattr(self.raw, "encoding", None) or "utf-8"
        shown = printable(text).encode(encoding, "backslashreplace").decode(encoding)
        with _writing():
            self.raw.write(shown)
        return len(text)

    def flush(self) -> None:
        """As of every stream."""
        with _writing():
            self.raw.flush()

    def writelines(self, lines: Any) -> None:
        """As of every stream."""
        for text in lines:
            self.write(text)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.raw, name)


@contextlib.contextmanager
def streams() -> Iterator[None]:
    """Let `print` and everything else that writes to stdout and stderr write what is printable."""
    before = sys.stdout, sys.stderr
    # What was closed before Python began (`2>&-`) leads nowhere, and leaves its number to no file
    with Path(os.devnull).open("w") as nowhere:
        sys.stdout, sys.stderr = (_wrapped(stream or nowhere) for stream in before)
        try:
            yield
        finally:
            sys.stdout, sys.stderr = before


def show_traceback(kind: type[BaseException], error: BaseException, trace: Any) -> None:
    """A bug keeps its traceback, and what stands in that is made printable too."""
    with streams():
        sys.__excepthook__(kind, error, trace)


def raw(stream: Any) -> Any:
    """The stream behind a `Printable`: for a program that draws, and escapes its texts itself."""
    return stream.raw if isinstance(stream, Printable) else stream


def _wrapped(stream: Any) -> Any:
    return stream if isinstance(stream, Printable) else Printable(stream)
