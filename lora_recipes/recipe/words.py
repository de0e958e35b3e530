"""Texts with `{trigger}` and `{class_word}` in them."""

from __future__ import annotations

import re

PLACEHOLDERS = ("trigger", "class_word")
"""What may stand in braces in a template or a prompt."""


def placeholders(text: str) -> list[str]:
    """What stands in braces, in order. A lone brace is just a brace.

    >>> placeholders("a {trigger} on {place}, :{")
    ['trigger', 'place']
    """
    return re.findall(r"\{([^{}]*)\}", text)
