"""Small pieces that several sections of the page are made of."""

from __future__ import annotations

from collections.abc import Iterable

from lora_recipes.report.html import Child, Html, tag
from lora_recipes.report.images import Embedded


def section(identifier: str, title: str, *content: Child) -> Html:
    """A part of the page, with a heading that the menu points to."""
    heading = tag("h2", title, id=identifier)
    return tag("section", heading, *content, aria_labelledby=identifier)


def lead(*content: Child) -> Html:
    """The sentence under a heading that says what is to be seen."""
    return tag("p", *content, class_="lead")


def picture(image: Embedded, alt: str, *caption: Child, class_: str = "") -> Html:
    """A picture that opens large when it is clicked, with a caption below."""
    shown = tag(
        "img",
        src=image.uri,
        alt=alt,
        width=image.width,
        height=image.height,
    )
    button = tag("button", shown, type="button", class_="zoom")
    return tag(
        "figure",
        button,
        tag("figcaption", *caption) if caption else "",
        class_=class_ or None,
    )


def facts(rows: Iterable[tuple[str, Child]]) -> Html:
    """Names and values, one below the other."""
    return tag(
        "dl",
        [tag("div", tag("dt", name), tag("dd", value)) for name, value in rows],
        class_="facts",
    )


def code(text: str) -> Html:
    """A value or name to be read letter by letter; it may break anywhere."""
    return tag("code", text, dir="auto")


def block(text: str) -> Html:
    """Several lines to copy."""
    return tag("pre", tag("code", text), tabindex="0")
