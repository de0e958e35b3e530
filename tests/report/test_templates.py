"""Nothing that a user writes can become markup."""

from __future__ import annotations

import re
from html.parser import HTMLParser

import pytest
from jinja2 import UndefinedError

from lora_recipes.report.page import FOLDER, TEMPLATES, environment

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


def rendered(template: str, **values: object) -> str:
    return environment().from_string(template).render(**values)


@pytest.mark.parametrize("text", NASTY)
def test_text_and_attributes_come_back_as_they_were_written(text: str):
    read = Read(rendered('<p title="{{ text }}">{{ text }}</p>', text=text))

    assert read.elements == [("p", {"title": text})]
    assert read.text == text


def test_markup_of_the_templates_own_pieces_is_not_escaped_again():
    use = '{% import "pieces.html.j2" as piece %}<b>{{ piece.code(text) }}</b>'
    assert rendered(use, text="a & b") == '<b><code dir="auto">a &amp; b</code></b>'


def test_control_characters_are_replaced_but_lines_and_tabs_stay():
    told = rendered("{{ text }}", text="a\x00b\x1b[31mc\x9f\r\n\td\ud83d")
    assert told == "a\ufffdb\ufffd[31mc\ufffd\ufffd\n\td\ufffd"


def test_others_words_are_isolated_from_the_direction_around_them():
    use = '{% from "pieces.html.j2" import said %}{{ said(text) }}'
    assert rendered(use, text="\u202eabc שלום") == '<bdi dir="auto">\u202eabc שלום</bdi>'


def test_a_name_that_is_not_there_is_an_error_and_no_hole():
    with pytest.raises(UndefinedError, match="'nothing' is undefined"):
        rendered("{{ nothing }}")


@pytest.mark.parametrize("name", TEMPLATES)
def test_no_template_switches_escaping_off_or_leaves_an_attribute_unquoted(name: str):
    text = (FOLDER / name).read_text("utf-8")
    assert "{{" in text
    assert re.findall(r"\|\s*safe\b|autoescape|=\{\{", text) == []
