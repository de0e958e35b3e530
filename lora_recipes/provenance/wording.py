"""Which texts of a module reach nothing but messages, so that their words change no byte.

A text need not stand inside of `Problem(…)`: it may come there by a local variable, by an argument
or the result of a private function, or as a private constant. Each of these places is taken for
wording at first. One that is also used for something else counts, and so does what flows into it,
until nothing changes any more. An `if` may ask whether a wording is there: hence whether a text is
empty always counts, and its words do not. Keys of mappings and what is compared count.

Other modules are not looked at, so nothing public is wording, except the results and constants that
are annotated `Wording`. `tests/provenance/test_wording.py` holds those who use one to that.

Source: the analysis of faint variables; Nielson et al. 1999, Principles of Program Analysis, 2.1.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any

from lora_recipes.provenance.messages import PURE, WORDS, is_message, is_wording
from lora_recipes.provenance.syntax import (
    Function,
    assigned,
    has_words,
    imported_names,
    locals_of,
    name_of,
    pairs_of,
    stands_alone,
    table_of,
)

_PASS = frozenset({"list", "next", "sorted", "str", "tuple"})
"""Functions that give on what they get: words come out where words went in."""

_PASS_ON = frozenset({"get", "items", "join", "rstrip", "strip", "values"})
"""Methods that give on what they are called on, and their last argument."""

_TRANSPARENT = frozenset({"cache", "contextmanager"})
"""Decorators behind which a function gets what its callers give, and answers with its own."""

Key = tuple[str, ...]
"""A place that texts go through: `result f`, `passed f`, `local f x`, `constant C`, `import g`."""


class Use(Enum):
    """What is done with a value."""

    COUNTS = auto()
    TESTED = auto()
    """It is asked whether it is there."""
    TOLD = auto()
    """It becomes the value of something that is only told."""
    MESSAGE = auto()
    """It stands in a message."""


@dataclass(frozen=True)
class Scope:
    """A function of the module or of a class, with all that is nested in it; or the module."""

    name: str = ""
    locals: frozenset[str] = frozenset()
    returned: Use = Use.COUNTS


@dataclass(frozen=True)
class Words:
    """What was found in a module."""

    texts: frozenset[int]
    """`id` of the strings and f-strings whose words do not count."""

    counting: frozenset[str]
    """The functions and imports that are used for more than messages."""


def words(tree: ast.AST) -> Words:
    """Which texts below a syntax tree only people read."""
    flow = _Flow(tree)
    while True:
        before = len(flow.counts)
        flow.again(tree)
        if len(flow.counts) == before:
            used = {key[1] for key in flow.counts if key[0] in ("result", "passed", "import")}
            return Words(frozenset(flow.texts), frozenset(used))


class _Flow:
    """A module, and what was found to count in the passes over it."""

    def __init__(self, tree: ast.AST) -> None:
        body = getattr(tree, "body", [])
        body = body if isinstance(body, list) else []
        self.before, self.counts, self.texts = frozenset[Key](), set[Key](), set[int]()
        self.locals: dict[int, frozenset[str]] = {}
        self.functions = {
            node.name: node
            for node in body
            if isinstance(node, Function)
            and all(name_of(one) in _TRANSPARENT for one in node.decorator_list)
        }
        self.constants = {
            name
            for node in body
            for name in assigned(node)
            if name.startswith("_") or is_wording(getattr(node, "annotation", None))
        }
        self.tables = {name: width for node in body for name, width in table_of(node)}
        self.imported = dict(imported_names(tree))

    def again(self, tree: ast.AST) -> None:
        """Pass over the module, with what is known by now."""
        self.before = frozenset(self.counts)
        self.texts.clear()
        self.inside(tree, Scope())

    # Statements: `on_<kind>` for those in which more is known than that all in them counts

    def inside(self, node: Any, scope: Scope) -> None:
        """Whatever stands in a node; expressions count."""
        self.all_of(ast.iter_child_nodes(node), scope)

    def all_of(self, nodes: Iterator[ast.AST] | Sequence[ast.AST], scope: Scope) -> None:
        for node in nodes:
            if isinstance(node, ast.expr):
                self.use(node, Use.COUNTS, scope)
            elif not stands_alone(node):
                getattr(self, f"on_{type(node).__name__}", self.inside)(node, scope)

    def on_FunctionDef(self, node: Function, outer: Scope) -> None:
        self.all_of([*node.decorator_list, node.args], outer)
        if outer.name:
            self.all_of(node.body, Scope(outer.name, outer.locals))
            return
        own = self.functions.get(node.name) is node
        told = own and node.name.startswith("_") and self.told(("result", node.name))
        returned = Use.TOLD if told or is_wording(node.returns) else Use.COUNTS
        name = node.name if own else f"{node.name} {node.lineno}"
        if id(node) not in self.locals:
            self.locals[id(node)] = frozenset(locals_of(node))
        self.all_of(node.body, Scope(name, self.locals[id(node)], returned))

    on_AsyncFunctionDef = on_FunctionDef

    def on_ClassDef(self, node: ast.ClassDef, _: Scope) -> None:
        """Its attributes count."""
        for child in ast.iter_child_nodes(node):
            fields = isinstance(child, (ast.Assign, ast.AnnAssign))
            if fields:
                self.inside(child, Scope())
            else:
                self.all_of([child], Scope())

    def on_Assign(self, node: ast.Assign, scope: Scope) -> None:
        self.assign(node.targets, node.value, scope)

    def on_AnnAssign(self, node: ast.AnnAssign, scope: Scope) -> None:
        if node.value:
            self.assign([node.target], node.value, scope)

    def on_AugAssign(self, node: ast.AugAssign, scope: Scope) -> None:
        if not isinstance(node.value, (ast.Constant, ast.JoinedStr)):
            self.use(node.target, Use.COUNTS, scope)  # a list, perhaps, that others hold too
        self.assign([node.target], node.value, scope)

    def on_Return(self, node: ast.Return, scope: Scope) -> None:
        if node.value:
            self.use(node.value, scope.returned, scope)

    def on_If(self, node: ast.If | ast.While, scope: Scope) -> None:
        self.use(node.test, Use.TESTED, scope)
        self.all_of([*node.body, *node.orelse], scope)

    on_While = on_If

    def on_Assert(self, node: ast.Assert, scope: Scope) -> None:
        self.use(node.test, Use.TESTED, scope)

    def on_For(self, node: ast.For | ast.AsyncFor, scope: Scope) -> None:
        self.assign([node.target], node.iter, scope, each=True)
        self.all_of([*node.body, *node.orelse], scope)

    on_AsyncFor = on_For

    def on_Raise(self, node: ast.Raise, scope: Scope) -> None:
        """An exception's texts are read by people; where they are data, they are no constants."""
        if isinstance(node.exc, ast.Call):
            self.call(node.exc, Use.COUNTS, scope, raised=True)
        self.all_of(
            [part for part in (node.exc, node.cause) if not isinstance(part, ast.Call | None)],
            scope,
        )

    def on_Global(self, node: ast.Global | ast.Nonlocal, scope: Scope) -> None:
        for name in node.names:
            self.counts |= {("local", scope.name, name), ("constant", name)}

    on_Nonlocal = on_Global

    # Names get values

    def assign(
        self,
        targets: Sequence[ast.expr],
        value: ast.expr,
        scope: Scope,
        *,
        each: bool = False,
        within: Use = Use.COUNTS,
    ) -> None:
        """A value gets names; with `each`, every item of it does, for what is made `within`."""
        if len(targets) == 1 and isinstance(targets[0], ast.Tuple):
            target = targets[0]
            if each and isinstance(value, ast.Name) and self.rows(target, value, scope):
                return
            if pairs := list(pairs_of(target, value, each)):
                for one, item in pairs:
                    self.assign([one], item, scope)
                return
            if each and isinstance(value, ast.Call) and name_of(value.func) == "items":
                targets = target.elts[-1:]  # a mapping's keys count wherever they come from
        name = targets[0].id if isinstance(targets[0], ast.Name) else ""
        if not scope.name and name in self.tables:
            self.table(name, value, scope)
            return
        told = {self.use_of(target, scope) for target in targets} == {Use.TOLD}
        if each and within is not Use.MESSAGE and not self.has_items(value):
            told = False  # how often: of a text, its letters would be counted
        self.use(value, Use.TOLD if told else Use.COUNTS, scope)

    def has_items(self, value: ast.expr) -> bool:
        """Whether a value is certainly no text, so that only its items can be words."""
        called = name_of(value.func) if isinstance(value, ast.Call) else ""
        answer = getattr(self.functions.get(called), "returns", None)
        a_list = isinstance(answer, ast.Subscript) and name_of(answer.value) == "list"
        return isinstance(value, (ast.Tuple, ast.List)) or a_list or called in ("items", "values")

    def use_of(self, target: ast.expr, scope: Scope) -> Use:
        """What becomes of a value that is assigned to a target."""
        told = False
        if isinstance(target, ast.Name):
            key = self.key(target.id, scope)
            told = key is not None and key[0] in ("local", "constant") and self.told(key)
        elif isinstance(target, ast.Starred):
            return self.use_of(target.value, scope)
        elif isinstance(target, ast.Tuple):
            told = all(self.use_of(item, scope) is Use.TOLD for item in target.elts)
        else:
            self.use(target, Use.COUNTS, scope)
        return Use.TOLD if told else Use.COUNTS

    def rows(self, target: ast.Tuple, value: ast.Name, scope: Scope) -> bool:
        """Whether these names are the columns of a table: each is told or counts by itself."""
        key = self.key(value.id, scope)
        if key != ("constant", value.id) or self.tables.get(value.id) != len(target.elts):
            return False
        for column, one in enumerate(target.elts):
            if self.use_of(one, scope) is Use.COUNTS:
                self.counts.add((*key, str(column)))
        return True

    def table(self, name: str, value: Any, scope: Scope) -> None:
        key = ("constant", name)
        columns = range(self.tables[name])
        told = [self.told(key) and self.told((*key, str(column))) for column in columns]
        for row in value.elts:
            for fits, item in zip(told, row.elts, strict=True):
                self.use(item, Use.TOLD if fits else Use.COUNTS, scope)

    # Expressions

    def use(self, node: Any, use: Use, scope: Scope) -> None:
        """Follow a value: which names it uses how, and which of its texts are told."""
        match node:
            case ast.Name():
                self.name(node.id, use, scope)
            case ast.Call():
                self.call(node, use, scope)
            case ast.NamedExpr():
                if use in (Use.COUNTS, Use.MESSAGE):
                    self.count(self.key(node.target.id, scope))
                self.assign([node.target], node.value, scope)
            case ast.IfExp():
                self.use(node.test, Use.TESTED, scope)
                self.each([node.body, node.orelse], use, scope)
            case ast.BoolOp() if use is not Use.COUNTS:
                self.each(node.values, use, scope)
            case ast.UnaryOp(op=ast.Not()) if use is Use.TESTED:
                self.use(node.operand, use, scope)
            case ast.Compare(ops=[ast.Is() | ast.IsNot()], comparators=[ast.Constant(value=None)]):
                self.use(node.left, Use.TESTED, scope)
            case _:
                self.whole(node, use, scope)

    def each(self, nodes: Sequence[ast.AST], use: Use, scope: Scope) -> None:
        for node in nodes:
            self.use(node, use, scope)

    def whole(self, node: ast.AST, use: Use, scope: Scope) -> None:
        """An expression of parts: a text that is told tells those that it is put together of."""
        inner: Use = use if use is Use.MESSAGE else Use.COUNTS
        parts: list[ast.AST] = list(ast.iter_child_nodes(node))
        match node:
            case ast.Constant() if use is Use.TOLD and has_words(node):
                self.texts.add(id(node))
            case ast.JoinedStr() if use is Use.TOLD and any(map(has_words, node.values)):
                self.texts.add(id(node))
                inner = Use.MESSAGE
            case ast.Tuple() | ast.List() | ast.Starred() | ast.JoinedStr() | ast.FormattedValue():
                inner = Use.COUNTS if use is Use.TESTED else use
            case ast.BinOp(op=ast.Add() | ast.BitOr()):
                inner = Use.COUNTS if use is Use.TESTED else use
            case ast.Dict() if use is Use.TOLD:
                self.each([key for key in node.keys if key], Use.COUNTS, scope)
                inner, parts = use, list(node.values)
            case ast.Subscript() if use is Use.TOLD:
                self.use(node.value, use, scope)
                parts = [node.slice]
            case ast.GeneratorExp() | ast.ListComp() | ast.SetComp() | ast.DictComp():
                # told twice, equal words would be one item of a set
                told = use is Use.TOLD and isinstance(node, (ast.GeneratorExp, ast.ListComp))
                inner = use if told else inner
                for of in node.generators:
                    self.assign([of.target], of.iter, scope, each=True, within=use)
                    self.each(of.ifs, Use.TESTED, scope)
                parts = [part for part in parts if isinstance(part, ast.expr)]
        self.each(parts, inner, scope)

    def call(self, node: ast.Call, use: Use, scope: Scope, *, raised: bool = False) -> None:
        arguments = [*node.args, *(keyword.value for keyword in node.keywords)]
        name, function = name_of(node.func), node.func
        key = self.key(name, scope) if isinstance(function, ast.Name) else None
        if is_message(node):
            self.each(arguments, Use.MESSAGE, scope)
        elif key == ("result", name):
            if use is Use.COUNTS:
                self.count(key)
            self.arguments(self.functions[name], node, scope)
        else:
            of_words = key == ("import", name) and self.imported[name] in WORDS
            passing = _PASS if isinstance(function, ast.Name) else _PASS_ON
            passes = of_words or name in passing or (use is Use.MESSAGE and name in PURE)
            inner = use if passes and use is not Use.TESTED else Use.COUNTS
            if isinstance(function, ast.Name):
                counts = use is Use.COUNTS or (use is Use.TESTED and of_words)
                self.count(key if counts or key is None or key[0] != "import" else None)
            else:
                self.use(getattr(function, "value", function), inner, scope)
            if name == "get" and inner is Use.TOLD:  # what is looked for counts
                self.use(arguments.pop(0), Use.COUNTS, scope)
            self.each(arguments, Use.TOLD if raised else inner, scope)

    def arguments(self, function: Function, call: ast.Call, scope: Scope) -> None:
        """What a function of the module gets: told if the parameter is."""
        spec = function.args
        names = [argument.arg for argument in (*spec.posonlyargs, *spec.args)]
        known = {*names, *(argument.arg for argument in spec.kwonlyargs)}
        private = function.name.startswith("_") and self.told(("passed", function.name))
        spread = any(isinstance(argument, ast.Starred) for argument in call.args)
        given = [] if spread else names
        pairs = [(given[at] if at < len(given) else "", one) for at, one in enumerate(call.args)]
        pairs += [(str(keyword.arg), keyword.value) for keyword in call.keywords]
        for name, value in pairs:
            told = private and name in known and self.told(("local", function.name, name))
            self.use(value, Use.TOLD if told else Use.COUNTS, scope)

    def name(self, name: str, use: Use, scope: Scope) -> None:
        key = self.key(name, scope)
        if key is not None and key[0] == "result":
            self.counts.add(("passed", name))  # who has it may call it
        if use is Use.COUNTS or (key is not None and key[0] == "import"):
            self.count(key)

    def key(self, name: str, scope: Scope) -> Key | None:
        """What a name means in a function."""
        if name in scope.locals:
            return ("local", scope.name, name)
        if name in self.functions:
            return ("result", name)
        if name in self.constants:
            return ("constant", name)
        return ("import", name) if name in self.imported else None

    def count(self, key: Key | None) -> None:
        if key is not None:
            self.counts.add(key)

    def told(self, key: Key) -> bool:
        return key not in self.before
