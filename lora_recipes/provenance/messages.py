"""What a message is in the package's code: calls whose arguments only people read."""

from __future__ import annotations

import ast

MESSAGES = frozenset({"Problem", "UserError", "CannotTell", "Unreadable", "NotRead", "Unusable"})
"""Calls whose arguments only the user reads; of `UserError` and its kind, `UserError.of` too."""

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

WORDS = frozenset({"lora_recipes.text", "lora_recipes.printable"})
"""Modules of pure functions from texts to texts, which answer with nothing only where they get
nothing. Where only messages use one, it does not count."""

WORDING = "Wording"
"""The annotation of words for people: a function's answer, or a constant."""


def is_message(call: ast.Call) -> bool:
    """`Problem(…)`, `UserError.of(…)`, `report.say(…)`, `self.report.warn(…)`, `bar.advance(…)`."""
    if isinstance(call.func, ast.Name):
        return call.func.id in MESSAGES
    if not isinstance(call.func, ast.Attribute):
        return False
    owner = name_of(call.func.value)
    if call.func.attr == "of":
        return owner in MESSAGES
    return owner in SAYING.get(call.func.attr, ())


def name_of(node: ast.AST) -> str:
    """The last part of a dotted name: `warn` of `self.report.warn`."""
    if isinstance(node, ast.Attribute):
        return node.attr
    return node.id if isinstance(node, ast.Name) else ""


def stands_alone(node: object) -> bool:
    """Whether it is a docstring, or another text that nothing uses."""
    return (
        isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
    )
