"""Nothing that a user writes can become markup."""

from __future__ import annotations

from html.parser import HTMLParser

import pytest

from lora_recipes.report.html import escape, said, tag

NASTY = (
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "' autofocus onfocus='alert(1)",
    "</title></style></textarea>",
    "&lt;b&gt; & &amp;",
    "<!-- --> <![CDATA[ ]]>",
)


class Read(HTMLParser):
    """The elements, attributes and text of some markup."""

    def __init__(self, markup: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(markup)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.mark.parametrize("text", NASTY)
def test_text_and_attributes_come_back_as_they_were_written(text: str):
    read = Read(tag("p", text, title=text))

    assert read.elements == [("p", {"title": text})]
    assert read.text == text


def test_markup_that_was_built_here_is_not_escaped_again():
    assert tag("p", tag("b", "a & b"), [" – ", tag("i", "c")]) == (
        "<p><b>a &amp; b</b> – <i>c</i></p>"
    )


def test_control_characters_are_replaced_but_lines_and_tabs_stay():
    assert escape("a\x00b\x1b[31mc\x9f\n\td") == "a\ufffdb\ufffd[31mc\ufffd\n\td"


def test_others_words_are_isolated_from_the_direction_around_them():
    assert said("\u202eabc שלום") == '<bdi dir="auto">\u202eabc שלום</bdi>'


def test_attributes_are_spelled_for_html():
    assert tag("p", class_="a", aria_label="b", hidden=True, title=None, lang=False) == (
        '<p class="a" aria-label="b" hidden></p>'
    )
    assert tag("meta", charset="utf-8") == '<meta charset="utf-8">'
