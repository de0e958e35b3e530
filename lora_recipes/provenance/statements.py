"""What a module does, as nested lists: its syntax tree without all that only people read."""

from __future__ import annotations

import ast

from lora_recipes.provenance.messages import PURE, is_message
from lora_recipes.provenance.syntax import name_of, stands_alone
from lora_recipes.provenance.wording import Words, words


def statements(node: ast.AST, found: Words | None = None) -> list[object]:
    """A syntax tree as nested lists, the same for every Python version that can parse it.

    Positions, empty fields (versions differ in them), strings that stand alone (docstrings) and
    the texts of messages are left out.

    Args:
        node: a module, or a part of one that is looked at alone.
        found: its `words`, where they are known.
    """
    return _statements(node, (found or words(node)).texts)


def _statements(node: ast.AST, texts: frozenset[int]) -> list[object]:
    if id(node) in texts:
        return ["text", _effects([node])]
    if isinstance(node, ast.Call) and is_message(node):
        called = _statements(node.func, texts)
        return ["message", called, _effects([*node.args, *node.keywords])]
    if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call):
        cause = node.cause and _statements(node.cause, texts)
        return ["raise", _statements(_without_texts(node.exc), texts), cause]
    out: list[object] = [type(node).__name__]
    for name, value in ast.iter_fields(node):
        if name in ("ctx", "kind", "type_comment", "type_ignores"):
            continue
        if name == "msg" and isinstance(node, ast.Assert):
            continue
        if isinstance(value, list):
            items = [_value(item, texts) for item in value if not _is_nothing(item, node)]
            if items:
                out.append([name, items])
        elif value is not None:
            out.append([name, _value(value, texts)])
    return out


def _is_nothing(part: object, of: ast.AST) -> bool:
    """A docstring; or the empty end that Python 3.12 sees in the format of `{x:{size}}`."""
    empty = isinstance(of, ast.JoinedStr) and isinstance(part, ast.Constant) and part.value == ""
    return empty or stands_alone(part)


def _value(value: object, texts: frozenset[int]) -> object:
    return _statements(value, texts) if isinstance(value, ast.AST) else repr(value)


def _effects(nodes: list[ast.AST]) -> list[object]:
    """What an argument of a message does besides being read: assignments, and calls by name.

    The texts of these calls do not count; which function is called does, unless it is `PURE`.
    """
    found: list[object] = []
    for node in nodes:
        if isinstance(node, (ast.NamedExpr, ast.Await, ast.Yield, ast.YieldFrom)):
            found.append(_statements(node, frozenset()))
            continue
        if isinstance(node, ast.Call) and name_of(node.func) not in PURE:
            found.append(name_of(node.func) or _statements(node.func, frozenset()))
        found += _effects(list(ast.iter_child_nodes(node)))
    return found


def _without_texts(call: ast.Call) -> ast.Call:
    """The exception that is raised, without the texts among its arguments. Numbers stay."""
    return ast.Call(
        func=call.func,
        args=[arg for arg in call.args if not _is_text(arg)],
        keywords=[keyword for keyword in call.keywords if not _is_text(keyword.value)],
    )


def _is_text(node: ast.expr) -> bool:
    if isinstance(node, ast.JoinedStr):
        return not _effects([node])
    return isinstance(node, ast.Constant) and isinstance(node.value, str)
