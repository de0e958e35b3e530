"""What a module does, as nested lists: its syntax tree without all that only people read."""

from __future__ import annotations

import ast

MESSAGES = frozenset({"Problem", "UserError", "CannotTell", "Unreadable", "NotRead", "Unusable"})
"""Calls whose arguments only the user reads."""

REPORTERS = ("report", "reporter")
SAYING = {**dict.fromkeys(("say", "warn", "loading", "bar"), REPORTERS), "advance": ("bar",)}
"""Methods whose arguments likewise, with the names of what has them: a reporter, and its bar."""

PURE = frozenset(
    {
        *("abs", "getattr", "isinstance", "len", "max", "min", "round", "sorted", "str", "sum"),
        *("list", "map", "repr", "tuple", "type", "zip", "format", "items", "join", "keys"),
        *("partition", "removeprefix", "removesuffix", "splitlines", "strip", "values"),
    }
)
"""Calls inside such an argument that leave nothing behind. Any other one is kept."""


def statements(node: ast.AST) -> list[object]:
    """A syntax tree as nested lists, the same for every Python version that can parse it.

    Positions, empty fields (versions differ in them), strings that stand alone (docstrings) and
    the texts of messages are left out.
    """
    if isinstance(node, ast.Call) and _is_message(node):
        return ["message", statements(node.func), _effects([*node.args, *node.keywords])]
    if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call):
        return [
            "raise",
            statements(_without_texts(node.exc)),
            node.cause and statements(node.cause),
        ]
    out: list[object] = [type(node).__name__]
    for name, value in ast.iter_fields(node):
        if name in ("ctx", "kind", "type_comment", "type_ignores"):
            continue
        if name == "msg" and isinstance(node, ast.Assert):
            continue
        if isinstance(value, list):
            items = [_value(item) for item in value if not _stands_alone(item)]
            if items:
                out.append([name, items])
        elif value is not None:
            out.append([name, _value(value)])
    return out


def _is_message(call: ast.Call) -> bool:
    """`Problem(…)`, `UserError.of(…)`, `report.say(…)`, `self.report.warn(…)`, `bar.advance(…)`."""
    if isinstance(call.func, ast.Name):
        return call.func.id in MESSAGES
    if not isinstance(call.func, ast.Attribute):
        return False
    owner = _name(call.func.value)
    if call.func.attr == "of":
        return owner in MESSAGES
    return owner in SAYING.get(call.func.attr, ())


def _effects(nodes: list[ast.AST]) -> list[object]:
    """What an argument of a message does besides being read: assignments, and calls by name.

    The texts of these calls do not count; which function is called does, unless it is `PURE`.
    """
    found: list[object] = []
    for node in nodes:
        if isinstance(node, (ast.NamedExpr, ast.Await, ast.Yield, ast.YieldFrom)):
            found.append(statements(node))
            continue
        if isinstance(node, ast.Call) and _name(node.func) not in PURE:
            found.append(_name(node.func) or statements(node.func))
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


def _name(node: ast.AST) -> str:
    """The last part of a dotted name: `warn` of `self.report.warn`."""
    if isinstance(node, ast.Attribute):
        return node.attr
    return node.id if isinstance(node, ast.Name) else ""


def _value(value: object) -> object:
    return statements(value) if isinstance(value, ast.AST) else repr(value)


def _stands_alone(node: object) -> bool:
    return (
        isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
    )
