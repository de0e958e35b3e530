"""What a message is in the package's code: calls whose arguments only people read."""

from __future__ import annotations

import ast

from lora_recipes.provenance.syntax import name_of

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

WORDS = frozenset({"lora_recipes.text"})
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


def is_wording(annotation: ast.AST | None) -> bool:
    """Whether an annotation says that it is words for people: `Wording`, `dict[str, Wording]`."""
    return annotation is not None and any(
        isinstance(node, ast.Name) and node.id == WORDING for node in ast.walk(annotation)
    )
