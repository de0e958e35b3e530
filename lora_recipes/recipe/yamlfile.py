"""Reading a YAML file as YAML 1.2, with the line of every key, and its mistakes in plain words."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import islice
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.composer import Composer
from ruamel.yaml.error import MarkedYAMLError
from ruamel.yaml.reader import ReaderError

from lora_recipes.errors import Place, Problem, UserError, Wording
from lora_recipes.printable import line as brief
from lora_recipes.recipe.yaml_hints import hint

Key = tuple[str | int, ...]
"""The way to a value: names of mappings, positions in lists."""

MOST_VALUES = 10_000
"""More values than any recipe needs; stops files whose aliases multiply."""

LARGEST = 2**20
"""Bytes of a file; resolved.yaml has ten thousand."""

DEEPEST = 50
"""Levels of lists and mappings in one another."""

DIGITS = 400
"""Digits of a number: more than the longest decimal number needs."""

LONGEST_FIX = 1000
"""Letters of a line that a fix shows as it should be."""

_HALF = re.compile("[\ud800-\udfff]")
"""Half of a surrogate pair, as `"\\ud83d"` writes it."""

_FIXES = (
    ("duplicate key", "keep one of the two"),
    ("another document", "keep one document: remove the line with ---"),
    ("undefined alias", "quote a text that starts with *"),
    ("constructor for the tag", "remove the tag, or quote a text that starts with !"),
    ("cannot start any token", "quote the text"),
    ("unexpected end of stream", "close the quotes"),
    ("expected ',' or ']'", "close the bracket"),
    ("expected ',' or '}'", "close the brace"),
)


@dataclass(frozen=True)
class Source:
    """One YAML file: its values and the lines on which they are set."""

    shown: str
    """The file's name as messages show it, relative to the project."""

    data: dict[str, Any]
    lines: dict[Key, int] = field(default_factory=dict)
    written: dict[Key, str] = field(default_factory=dict)
    """Numbers that begin with zeros, such as 007, as they stand there: a text was meant."""

    def where(self, key: Key) -> Place:
        """The place of a key, or of the nearest mapping around it that has a line."""
        around = (self.lines.get(key[:length]) for length in range(len(key), 0, -1))
        return Place(self.shown, next((line for line in around if line), 0))


def read(path: Path, shown: str) -> Source:
    """Read a YAML file whose top level is a mapping. Who asks twice gets the same; change nothing.

    Raises:
        UserError: not readable, not UTF-8, not YAML 1.2, not a mapping with text keys, or with
            values that are not plain text, numbers, true/false, lists and mappings.
    """
    return _parsed(_text(path, shown), shown)


class _TooMany(Exception):
    """More nodes than any recipe has."""


class _Composer(Composer):
    """Stops at a long file's first values, not behind its last."""

    nodes = 0

    def compose_node(self, parent: Any, index: Any) -> Any:
        self.nodes += 1
        if self.nodes > 2 * MOST_VALUES + 1:  # a key and a value each
            raise _TooMany
        return super().compose_node(parent, index)


@lru_cache(maxsize=32)
def _parsed(text: str, shown: str) -> Source:
    """What a file says. Commands ask for one several times, and reading YAML takes a while."""
    yaml = YAML(typ="safe", pure=True)
    yaml.Composer = _Composer
    yaml.composer.warn_double_anchors = False  # YAML allows them; the nearest one above counts
    node = None
    try:
        node = yaml.compose(text)
        if node is not None:
            _refuse_odd_nodes(node, shown)
        data = {} if node is None else yaml.constructor.construct_document(node)
    except UserError:
        raise
    except _TooMany as error:
        raise UserError(_too_many(shown, "put the right file there")) from error
    except MarkedYAMLError as error:
        raise UserError(_translate(error, text, shown)) from error
    except ReaderError as error:
        where = Place(shown, text[: error.position].count(chr(10)) + 1)
        raise UserError.of(
            where=where,
            what=f"is not YAML: the character {error.character:#04x}",
            fix="remove the character",
        ) from error
    except RecursionError as error:
        raise UserError(_too_deep(_deep_place(text, shown))) from error
    except Exception as error:  # of a value that its tag does not fit, nearly any
        raise UserError(_unforeseen(yaml, node, shown)) from error
    lines = {} if node is None else dict(islice(_lines(node, ()), MOST_VALUES))
    scalars = () if node is None else islice(_scalars(node, ()), MOST_VALUES)
    written = {key: text for key, text in scalars if re.fullmatch(r"0[0-9]+", text)}
    source = Source(shown, data, lines, written)
    if not isinstance(data, dict):
        raise UserError.of(
            where=Place(shown, 1),
            what=f"the file is {describe(data)}",
            allowed="`key: value` lines",
            fix="start from one of the shipped recipes",
        )
    problems = list(_odd_values(source, data))
    if problems:
        raise UserError(problems)
    return source


def describe(value: Any) -> Wording:
    """What kind of thing a value is, in words."""
    kinds: dict[type, Wording] = {
        bool: "true or false", int: "a number", float: "a number", str: "a text",
        list: "a list", dict: "a mapping", type(None): "null",
    }  # fmt: skip
    return kinds.get(type(value), f"a {type(value).__name__}")


def dotted(key: Key) -> str:
    """`("sample", "seeds", 1)` as `sample.seeds[1]`."""
    text = ""
    for part in key:
        shown = f"[{part}]" if isinstance(part, int) else part
        text += f".{shown}" if text and not isinstance(part, int) else shown
    return text


def dotted_in_line(key: Key) -> Wording:
    """`dotted` for a message: in one line, whatever stands in a name."""
    return brief(dotted(key))


def names_only(key: Key) -> tuple[str, ...]:
    """A key without positions in lists."""
    return tuple(part for part in key if isinstance(part, str))


def _text(path: Path, shown: str) -> str:
    if path.exists() and not path.is_file():
        what, fix = "is not an ordinary file", "put the file itself there"
        raise UserError.of(where=Place(shown), what=what, fix=fix)
    try:
        with path.open("rb") as file:
            data = file.read(LARGEST + 1)
        if len(data) > LARGEST:
            what = f"has more than {LARGEST:,} bytes, and is no recipe"
            raise UserError.of(where=Place(shown), what=what, fix="put the right file there")
        text = data.decode("utf-8-sig")
    except FileNotFoundError as error:
        raise UserError.of(
            where=Place(shown), what="is missing", fix="run this in the project's folder"
        ) from error
    except UnicodeDecodeError as error:
        where = Place(shown, data[: error.start].count(b"\n") + 1)
        raise UserError.of(
            where=where, what="is not UTF-8 text", fix="save the file as UTF-8"
        ) from error
    except OSError as error:
        raise UserError.of(
            where=Place(shown),
            what=f"cannot be read: {error.strerror}",
            fix="check the file's permissions",
        ) from error
    if match := re.search(r"^%YAML\s+(?!1\.2\s*$).*$", text, flags=re.MULTILINE):
        line = text[: match.start()].count("\n") + 1
        raise UserError.of(
            where=Place(shown, line),
            what=f"asks for another YAML: {brief(match.group().strip())}",
            allowed="YAML 1.2, as DVC reads it",
            fix="remove the line",
        )
    return text


def _deep_place(text: str, shown: str) -> Place:
    """About where a file that the parser cannot follow gets too deep."""
    depth = 0
    for at, line in enumerate(text.split("\n"), 1):
        depth = max(depth + len(re.findall(r"[\[{]", line)) - len(re.findall(r"[\]}]", line)), 0)
        if depth > DEEPEST or len(line) - len(line.lstrip(" -?:")) > DEEPEST:
            return Place(shown, at)
    return Place(shown)


def _too_deep(where: Place) -> Problem:
    return Problem(
        where=where,
        what="is nested too deeply",
        allowed=f"{DEEPEST} levels",
        fix="remove the inner brackets or lines; a recipe needs three levels",
    )


def _refuse_odd_nodes(root: Any, shown: str) -> None:
    """Refuse what would make endless values, no values, or values out of another file's rules."""
    todo: list[tuple[Any, tuple[int, ...]]] = [(root, ())]
    for count, (node, around) in enumerate(todo):
        where = Place(shown, node.start_mark.line + 1)
        if id(node) in around:
            fix = "remove the alias (*name) that stands inside its own anchor (&name)"
            raise UserError.of(where=where, what="a value holds itself", fix=fix)
        if len(around) > DEEPEST:
            raise UserError(_too_deep(where))
        if count > MOST_VALUES or node.id == "scalar":
            _refuse_scalar(node, where)
            continue
        inside = (*around, id(node))
        for item in node.value:
            name, value = item if node.id == "mapping" else (None, item)
            if name is not None:
                _refuse_key(name, shown)
            if len(todo) <= MOST_VALUES:
                todo.append((value, inside))


def _refuse_key(name: Any, shown: str) -> None:
    where = Place(shown, name.start_mark.line + 1)
    if name.id != "scalar":
        kind = "a list" if name.id == "sequence" else "a mapping"
        fix = "put the key into quotes, or the brackets after the colon"
        raise UserError.of(what=f"a key is {kind}", fix=fix, allowed="a name", where=where)
    if name.value == "<<" and name.style is None:
        fix = "remove the line and write the keys out; a recipe takes others in with `extends`"
        raise UserError.of(
            what="<< merges mappings in YAML 1.1 only", fix=fix, allowed="YAML 1.2", where=where
        )
    _refuse_scalar(name, where)


def _refuse_scalar(node: Any, where: Place) -> None:
    if node.id == "scalar" and node.tag.endswith((":int", ":float")) and len(node.value) > DIGITS:
        what = f"a number has {len(node.value):,} digits"
        fix = "write a shorter number, or put it into quotes if it is meant as text"
        raise UserError.of(what=what, fix=fix, allowed=f"{DIGITS} digits", where=where)


def _unforeseen(yaml: YAML, node: Any, shown: str) -> Problem:
    """A value that is not what its tag or its look says: found by making each value alone."""
    todo = [node] if node is not None else []
    for at in todo:
        if at.id == "scalar":
            try:
                yaml.constructor.construct_document(at)
            except Exception:  # as above
                kind = at.tag.rpartition(":")[2]
                kind = {"timestamp": "date", "int": "number", "float": "number"}.get(kind, kind)
                return Problem(
                    where=Place(shown, at.start_mark.line + 1),
                    what=f"{brief(at.value, 80) or repr('')} cannot be read as a {brief(kind)}",
                    allowed="a text, a number, true or false, a list",
                    fix="remove the tag (!!…) if there is one, or put it into quotes as a text",
                )
        elif len(todo) <= MOST_VALUES:
            todo += [part for item in at.value for part in (item if at.id == "mapping" else [item])]
    return Problem(
        where=Place(shown),
        what="is not YAML that can be read",
        fix="remove tags (!!…), anchors (&…) and brackets that were not meant",
    )


def _translate(error: MarkedYAMLError, text: str, shown: str) -> Problem:
    message = error.problem or "cannot be understood"
    fix = next((fix for part, fix in _FIXES if part in message), "correct the line")
    mark = error.problem_mark or error.context_mark
    if mark is not None and (found := hint(text, mark.line, mark.column, message)):
        what, told = f"is not YAML: {found.what}", brief(found.fix, LONGEST_FIX)
        return Problem(where=Place(shown, found.line + 1), what=what, fix=told)
    where = Place(shown, mark.line + 1 if mark is not None else 0)
    if match := re.match(r'found duplicate key "(.*?)"', message):
        twice = f"is not YAML: {brief(match.group(1) + ' stands here twice')}"
        return Problem(where=where, what=twice, fix=fix)
    return Problem(where=where, what=f"is not YAML: {brief(message)}", fix=fix)


def _lines(node: Any, key: Key) -> Iterator[tuple[Key, int]]:
    """The line of every key and list item under a node, the first line being 1."""
    if node.id == "mapping":
        for name, value in node.value:
            yield (*key, name.value), name.start_mark.line + 1
            yield from _lines(value, (*key, name.value))
    elif node.id == "sequence":
        for position, value in enumerate(node.value):
            yield (*key, position), value.start_mark.line + 1
            yield from _lines(value, (*key, position))


def _scalars(node: Any, key: Key) -> Iterator[tuple[Key, str]]:
    """The text of every value without quotes at or under a node; of all others nothing."""
    yield key, node.value if node.id == "scalar" and node.style is None else ""
    for position, item in enumerate(() if node.id == "scalar" else node.value):
        name, value = (item[0].value, item[1]) if node.id == "mapping" else (position, item)
        yield from _scalars(value, (*key, name))


def _odd_values(source: Source, data: dict[Any, Any]) -> Iterator[Problem]:
    """Keys that are no text, and values of kinds that only YAML knows."""
    todo: list[tuple[Key, Any]] = [((), data)]
    for count, (key, value) in enumerate(todo):
        if count > MOST_VALUES:
            yield _too_many(source.shown, "remove the aliases (*name) that multiply them")
            return
        if isinstance(value, dict):
            for name, inner in value.items():
                if isinstance(name, str) and not _HALF.search(name):
                    todo.append(((*key, name), inner))
                else:
                    yield _odd_key(source, key, name)
        elif isinstance(value, list):
            todo.extend(((*key, position), inner) for position, inner in enumerate(value))
        elif value is not None and not isinstance(value, (str, int, float)):
            yield Problem(
                where=source.where(key),
                what=f"{dotted_in_line(key)} = {brief(str(value))} is read as {describe(value)}",
                allowed="a text, a number, true or false, a list",
                fix="put it into quotes if it is meant as text",
            )


def _too_many(shown: str, fix: str) -> Problem:
    return Problem(where=Place(shown), what=f"holds more than {MOST_VALUES} values", fix=fix)


def _odd_key(source: Source, key: Key, name: object) -> Problem:
    if isinstance(name, str):
        what, fix = f"the key {brief(name)} holds half of a character", "write the character itself"
        return Problem(what, fix, "a name", source.where((*key, name)))
    return Problem(
        where=source.where((*key, str(name))),
        what=f"the key {brief(str(name))} is read as {describe(name)}",
        allowed="a name",
        fix="put it into quotes if it is meant as text",
    )
