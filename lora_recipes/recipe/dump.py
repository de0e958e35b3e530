"""Writing plain values as YAML that every parser reads alike, in one spelling."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

_PLAIN = re.compile(r"sha256:[0-9a-f]{64}|[A-Za-z][A-Za-z0-9_./-]*")
_WORDS = frozenset(["true", "false", "yes", "no", "on", "off", "y", "n", "null", "nan", "inf"])
"""What some parser reads as something else than text."""

_LOWEST_POSITIONAL = 1e-6


def dump(document: dict[str, Any]) -> str:
    """A mapping of text, numbers, booleans, lists and mappings as block YAML.

    YAML 1.1 and 1.2 readers agree on the result, which plain `1e-4` or `on` would not give.
    """
    return "".join(line + "\n" for line in _mapping(document, ""))


def scalar(value: Any) -> str:
    """One value: `0.0001` for 1e-4, `1.0e-30` for 1e-30, quoted text where it could be misread."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, float):
        return _float(value)
    assert isinstance(value, str), f"{value!r} is no plain value"
    plain = _PLAIN.fullmatch(value) and value.lower() not in _WORDS
    return value if plain else _quoted(value)


def _mapping(values: dict[str, Any], indent: str) -> Iterator[str]:
    for key, value in values.items():
        name = indent + scalar(key)
        if isinstance(value, dict) and value:
            yield f"{name}:"
            yield from _mapping(value, indent + "  ")
        elif isinstance(value, (list, tuple)) and value and all(isinstance(v, str) for v in value):
            yield f"{name}:"
            yield from (f"{indent}- {scalar(item)}" for item in value)
        elif isinstance(value, (list, tuple)):
            yield f"{name}: [{', '.join(map(scalar, value))}]"
        else:
            yield f"{name}: {'{}' if value == {} else scalar(value)}"


def _float(value: float) -> str:
    if not math.isfinite(value):
        raise ValueError(f"{value} is no plain number")
    text = repr(value)
    if "e" not in text:
        return text
    if _LOWEST_POSITIONAL <= abs(value) < 1:
        return format(Decimal(text), "f")
    mantissa, _, exponent = text.partition("e")
    return f"{mantissa if '.' in mantissa else mantissa + '.0'}e{exponent}"


def _quoted(text: str) -> str:
    escapes = {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\t": "\\t"}
    return '"' + "".join(escapes.get(c) or _escaped(c) for c in text) + '"'


def _escaped(character: str) -> str:
    return character if character.isprintable() else f"\\U{ord(character):08x}"
