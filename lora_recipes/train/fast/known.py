"""Which sources of other libraries' layers the fast paths were checked against.

A fast path does what a certain `forward` does, in fewer operations. Where an installed library has
another one, the layer stays plain: slower, never wrong. After an upgrade read what changed, then
add the line that `python -m lora_recipes.train.fast.known` prints to sources.py.
"""

from __future__ import annotations

import ast
import inspect
import pkgutil
import textwrap
from collections.abc import Callable, Iterable
from importlib.metadata import version
from typing import Any

from lora_recipes.errors import Wording
from lora_recipes.hashing import digest
from lora_recipes.train.fast.sources import KNOWN

LINEAR = "peft.tuners.lora.layer:Linear.forward"
ATTENTION = "diffusers.models.attention_processor:Attention.forward"
PROCESSOR = "diffusers.models.attention_processor:AttnProcessor2_0.__call__"
FEED_FORWARD = "diffusers.models.attention:FeedForward.forward"

_NO_MATHS = ("ctx", "kind", "type_comment", "type_ignores")
"""Fields of a syntax tree that say nothing, or not the same in every version of Python."""


def source_hash(function: Callable[..., Any]) -> str:
    """16 hex digits of what a function does: comments, docstrings and layout do not count.

    Raises:
        OSError: its source is not installed.
    """
    tree = ast.parse(textwrap.dedent(inspect.getsource(function)))
    return digest(_plain(tree)).removeprefix("sha256:")[:16]


def unknown(names: Iterable[str]) -> list[Wording]:
    """Which of these functions is another one than the fast paths know, in words."""
    return [
        f"{_package(name)} {version(_package(name))} has another {name.partition(':')[2]} than "
        f"{_package(name)} {', '.join(KNOWN[name].values())}"
        for name in names
        if _installed(name) not in KNOWN[name]
    ]


def _installed(name: str) -> str:
    """The hash of what is installed; empty where nothing of that name can be read."""
    try:
        return source_hash(pkgutil.resolve_name(name))
    except (ImportError, AttributeError, OSError, TypeError):
        return ""


def _package(name: str) -> str:
    return name.partition(".")[0]


def _plain(node: object) -> object:
    """A syntax tree as nested lists, without positions and empty fields."""
    if isinstance(node, list):
        return [_plain(item) for item in node if not _is_docstring(item)]
    if not isinstance(node, ast.AST):
        return repr(node)
    fields = [(name, value) for name, value in ast.iter_fields(node) if name not in _NO_MATHS]
    kept = [[name, _plain(value)] for name, value in fields if value is not None and value != []]
    return [type(node).__name__, *kept]


def _is_docstring(node: object) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)


if __name__ == "__main__":
    for key in KNOWN:
        print(f'{key}: {{"{_installed(key)}": "{version(_package(key))}"}}')
