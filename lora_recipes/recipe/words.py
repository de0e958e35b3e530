"""Texts with `{trigger}` and `{class_word}` in them."""

from __future__ import annotations

import re

PLACEHOLDERS = ("trigger", "class_word")
"""What may stand in braces in a template or a prompt."""


def fill(text: str, trigger: str, class_word: str) -> str:
    """A prompt or a template with its placeholders filled; a word that is "none" leaves no gap.

    Nothing but `{trigger}` and `{class_word}` is a placeholder; other braces stay as they are.

    >>> fill("a photo of {trigger} {class_word} on {place}", "none", "dog")
    'a photo of dog on {place}'
    """
    for name, word in zip(PLACEHOLDERS, (trigger, class_word), strict=True):
        if f"{{{name}}}" in text:
            filled = text.replace(f"{{{name}}}", "" if word == "none" else word)
            text = " ".join(filled.split())
    return text


def placeholders(text: str) -> list[str]:
    """What stands in braces, in order. A lone brace is just a brace.

    >>> placeholders("a {trigger} on {place}, :{")
    ['trigger', 'place']
    """
    return re.findall(r"\{([^{}]*)\}", text)
