"""The key list of params.yaml: a line for every key that a recipe has, so that `-S` finds it.

Text in, text out: keys that are missing are added at their place, `key: null  # what it is`, and
keys that are no more are taken out where they say nothing. Values, comments, order, line ends and
what DVC folded stay as they are.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from lora_recipes.errors import UserError
from lora_recipes.pipeline import PARAMS
from lora_recipes.recipe.dump import scalar
from lora_recipes.recipe.fields import PARAMS_TOP, every_key, keys_under, section_shorts
from lora_recipes.tree import lookup


@dataclass(frozen=True)
class Updated:
    """A key list that is whole."""

    text: str
    added: tuple[str, ...]
    """Dotted keys and sections that were missing."""

    removed: tuple[str, ...]
    """What is no key any more and was null."""

    unknown: tuple[str, ...]
    """What is no key any more and has a value: left for the user to take away."""


def updated(text: str) -> Updated:
    """params.yaml with every key.

    Args:
        text: a valid YAML file.

    Raises:
        UserError: its sections are written in a way that cannot be edited safely.
    """
    mark = "\ufeff" if text.startswith("\ufeff") else ""
    body = text.removeprefix(mark)
    end = "\r\n" if "\r\n" in body else "\n"
    body += end if body and not body.endswith("\n") else ""
    edit = _Edit(body, end)
    edit.mapping(YAML(typ="safe", pure=True).compose(body), (), PARAMS_TOP, after=len(body))
    done = edit.done() if edit.changes else text.removeprefix(mark)
    if edit.aliases or not _says_the_same(body, done, edit):
        raise UserError.of(
            where=PARAMS,
            what="is written in a way that cannot be edited safely",
            allowed="sections as mappings, without aliases",
            fix=f"add what is missing yourself: {', '.join(edit.added)}",
        )
    return Updated(mark + done, tuple(edit.added), tuple(edit.removed), tuple(edit.unknown))


@dataclass
class _Edit:
    """Changes to a text, collected first and made together."""

    text: str
    end: str
    added: list[str] = field(default_factory=list)
    removed: list[str] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)
    aliases: bool = False
    """Whether a section stands elsewhere too."""

    changes: list[tuple[int, int, str]] = field(default_factory=list)
    """From, to, what stands there instead; in the order of the keys."""

    def mapping(
        self, node: Any, within: tuple[str, ...], names: tuple[str, ...], after: int
    ) -> None:
        """Complete a mapping.

        Args:
            node: a composed mapping, or None.
            within: the names of the sections around it.
            names: what it should hold.
            after: where a key goes before which none of `names` stands.
        """
        entries = {key.value: (key, value) for key, value in node.value} if node else {}
        column = node.value[0][0].start_mark.column if entries else 0
        for name in names:
            key = (*within, name)
            if name in entries:
                self._complete(key, *entries[name])
                after = self._line_end(_end(*entries[name]))
            elif name not in ("recipe", "data"):
                self.added.append(".".join(key))
                self._insert(after, list(_lines(key, " " * column)), gap=not within)
        for name, (start, value) in entries.items():
            if name not in names:
                self._outdated((*within, name), start, value)

    def _complete(self, key: tuple[str, ...], start: Any, value: Any) -> None:
        names = keys_under(".".join(key))
        if not names:
            return
        if value.start_mark.index < start.end_mark.index:
            self.aliases = True
        elif _is_null(value):
            colon = self.text.index(":", start.end_mark.index) + 1
            self.changes.append((colon, max(colon, _end(start, value)), ""))
            self.added += [".".join((*key, name)) for name in names]
            lines = [line for name in names for line in _lines((*key, name), "  " * len(key))]
            self._insert(self._line_end(_end(start, value)), lines)
        elif value.id == "mapping" and value.flow_style:
            self._complete_line(key, value, names)
        elif value.id == "mapping":
            self.mapping(value, key, names, self._line_end(start.end_mark.index))

    def _complete_line(self, key: tuple[str, ...], node: Any, names: tuple[str, ...]) -> None:
        """Complete a mapping in braces."""
        given = [entry.value for entry, _ in node.value]
        missing = [name for name in names if name not in given]
        self.added += [".".join((*key, name)) for name in missing]
        self.unknown += [".".join((*key, name)) for name in given if name not in names]
        for start, value in node.value:
            self._complete((*key, start.value), start, value)
        last = node.end_mark.index - 1
        if missing:
            more = ", ".join(_in_braces((*key, name)) for name in missing)
            self.changes.append((last, last, f"{', ' if given else ''}{more}"))

    def _outdated(self, key: tuple[str, ...], start: Any, value: Any) -> None:
        name = ".".join(key)
        first = self.text.rfind("\n", 0, start.start_mark.index) + 1
        if _says_nothing(value) and not self.text[first : start.start_mark.index].strip():
            self.removed.append(name)
            self.changes.append((first, self._line_end(_end(start, value)), ""))
        else:
            self.unknown.append(name)

    def _insert(self, place: int, lines: list[str], *, gap: bool = False) -> None:
        """Write lines at the start of one; `gap` leaves an empty line before them."""
        head = self.end if gap and (place or self.changes) else ""
        self.changes.append((place, place, head + "".join(line + self.end for line in lines)))

    def _line_end(self, index: int) -> int:
        """Where the next line starts."""
        found = self.text.find("\n", index)
        return len(self.text) if found < 0 else found + 1

    def done(self) -> str:
        """The text with all changes."""
        text = self.text
        for start, stop, new in sorted(self.changes, key=lambda change: change[0])[::-1]:
            text = text[:start] + new + text[stop:]
        return text


def _lines(key: tuple[str, ...], indent: str) -> Iterator[str]:
    """A key or a section as lines of the list."""
    name = ".".join(key)
    known, children = every_key().get(name), keys_under(name)
    short = known.short if known else section_shorts().get(name, "")
    comment = f"  # {short}" if short else ""
    yield f"{indent}{key[-1]}:{'' if children else ' ' + _value(name)}{comment}"
    for child in children:
        yield from _lines((*key, child), indent + "  ")


def _in_braces(key: tuple[str, ...]) -> str:
    children = keys_under(".".join(key))
    inner = ", ".join(_in_braces((*key, child)) for child in children)
    return f"{key[-1]}: {f'{{{inner}}}' if children else _value('.'.join(key))}"


def _value(name: str) -> str:
    """null, the recipe's own. `runtime` has no recipe, so its keys show what they are."""
    return scalar(every_key()[name].default) if name.startswith("runtime.") else "null"


def _end(key: Any, value: Any) -> int:
    """Where a value ends, or its key; comments and empty lines after it are no part of it."""
    start, stop = value.start_mark.index, value.end_mark.index
    if start < key.end_mark.index or start == stop:
        return int(key.end_mark.index)  # an alias; or nothing, which the parser puts anywhere
    if value.id == "scalar" or value.flow_style:
        return int(stop)
    last = value.value[-1]
    return _end(*last) if value.id == "mapping" else _end(key, last)


def _is_null(node: Any) -> bool:
    return bool(node.tag == "tag:yaml.org,2002:null")


def _says_nothing(node: Any) -> bool:
    inner = [value for _, value in node.value] if node.id == "mapping" else []
    return _is_null(node) or (node.id == "mapping" and all(map(_says_nothing, inner)))


def _says_the_same(before: str, after: str, edit: _Edit) -> bool:
    """Whether only what was added and removed tells two texts apart."""
    try:
        old, new = (YAML(typ="safe", pure=True).load(text) or {} for text in (before, after))
    except YAMLError:
        return False
    for tree, names in ((old, edit.removed), (new, edit.added)):
        for name in names:
            *sections, leaf = name.split(".")
            section = lookup(tree, tuple(sections))
            if isinstance(section, dict):
                section.pop(leaf, None)
    return bool(_filled(old) == _filled(new))


def _filled(tree: Any) -> Any:
    """Without sections that say nothing: `lora:`, and what is left of one that was added to it."""
    if not isinstance(tree, dict):
        return copy.deepcopy(tree)
    inner = {name: _filled(value) for name, value in tree.items()}
    return {name: value for name, value in inner.items() if value not in (None, {})}
