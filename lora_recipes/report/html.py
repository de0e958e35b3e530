"""HTML in which every text is escaped unless it was built here: captions cannot break out."""

from __future__ import annotations

import html
from collections.abc import Iterable
from typing import Union

Child = Union[str, "Html", Iterable["Child"]]
Value = str | int | float | bool | None

VOID = frozenset({"br", "img", "meta"})
"""Elements without content and end tag. Source: https://html.spec.whatwg.org, "Void elements"."""


class Html(str):
    """Markup that goes into a page as it is. Only this module's functions make it."""

    __slots__ = ()


def tag(name: str, /, *children: Child, **attributes: Value) -> Html:
    """An element. Children that are plain text are escaped, and so are attribute values.

    `class_` becomes `class` and `aria_label` becomes `aria-label`; an attribute that is None or
    False is left out, one that is True stands alone.
    """
    inside = _attributes(attributes)
    if name in VOID:
        return Html(f"<{name}{inside}>")
    return Html(f"<{name}{inside}>{join(children)}</{name}>")


def join(children: Iterable[Child]) -> Html:
    """Several pieces one behind the other, each escaped if it is plain text."""
    return Html("".join(_one(child) for child in children))


def escape(text: str) -> Html:
    """Plain text as markup; control characters, which HTML does not allow, become U+FFFD."""
    kept = "".join(
        character if character.isprintable() or not _is_control(character) else "\ufffd"
        for character in text
    )
    return Html(html.escape(kept, quote=True))


def said(text: str) -> Html:
    """Somebody else's words: of any direction, and without effect on the words around them."""
    return tag("bdi", text, dir="auto")


def raw(text: str) -> Html:
    """This package's own style and script, which must not be escaped. Never for user text."""
    return Html(text)


def _one(child: Child) -> str:
    if isinstance(child, Html):
        return child
    if isinstance(child, str):
        return escape(child)
    return join(child)


def _attributes(attributes: dict[str, Value]) -> str:
    parts = []
    for name, value in attributes.items():
        if value is None or value is False:
            continue
        spelled = name.rstrip("_").replace("_", "-")
        parts.append(f" {spelled}" if value is True else f' {spelled}="{escape(str(value))}"')
    return "".join(parts)


def _is_control(character: str) -> bool:
    code = ord(character)
    return (code < 0x20 and character not in "\n\t") or 0x7F <= code < 0xA0  # noqa: PLR2004
