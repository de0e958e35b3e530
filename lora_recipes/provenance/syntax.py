"""Small questions to a syntax tree, for what is found out about the package's code."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from typing import Any

Function = ast.FunctionDef | ast.AsyncFunctionDef


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


def imported_names(tree: ast.AST) -> Iterator[tuple[str, str]]:
    """Each name that a module imports, and from which module; `import a.b` binds `a`, of itself."""
    for node in ast.walk(tree):
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            for alias in node.names:
                bound = alias.asname or alias.name.partition(".")[0]
                yield bound, getattr(node, "module", None) or ""


def assigned(node: ast.AST) -> Iterator[str]:
    targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
    yield from (target.id for target in targets if isinstance(target, ast.Name))


def table_of(node: ast.AST) -> Iterator[tuple[str, int]]:
    """A private constant that is a tuple of equally long tuples, and how long they are."""
    value = getattr(node, "value", None)
    rows = value.elts if isinstance(value, ast.Tuple) else []
    widths = {len(row.elts) if isinstance(row, ast.Tuple) else 0 for row in rows}
    if len(widths) == 1 and min(widths):
        yield from ((name, min(widths)) for name in assigned(node) if name.startswith("_"))


def locals_of(function: Function) -> Iterator[str]:
    for node in ast.walk(function):
        if isinstance(node, ast.arg):
            yield node.arg
        elif isinstance(node, Function) and node is not function:
            yield node.name
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id


def has_words(part: ast.expr) -> bool:
    text = part.value if isinstance(part, ast.Constant) else ""
    return isinstance(text, str) and bool(text.strip())


def pairs_of(target: ast.Tuple, value: Any, each: bool) -> Iterator[tuple[ast.expr, ast.expr]]:
    """The names of a tuple with the items of the tuple, or of each tuple, that is written there."""
    rows = [value]
    if each:
        rows = value.elts if isinstance(value, (ast.Tuple, ast.List)) else []
    if all(isinstance(row, ast.Tuple) and len(row.elts) == len(target.elts) for row in rows):
        pairs = [pair for row in rows for pair in zip(target.elts, row.elts, strict=True)]
        if not any(isinstance(part, ast.Starred) for pair in pairs for part in pair):
            yield from pairs
