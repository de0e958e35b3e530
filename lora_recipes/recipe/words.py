"""Texts with `{trigger}` and `{class_word}` in them."""

from __future__ import annotations

import re

from lora_recipes.hashing import counter
from lora_recipes.recipe.sections.prior import Prior

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


PRIOR_PLACEHOLDERS = ("class_word", "word")
"""What may stand in braces in a prompt of `prior.prompts`: never the subject's own word."""

_RARE = "bcdfghjkmnpqrstvwxz"


def prior_prompts(prior: Prior, class_word: str) -> list[str]:
    """What the base is to generate; `{word}`, which differs from picture to picture, stays."""
    return [fill(text, "none", class_word) for text in prior.prompts] if prior.images else []


def with_word(text: str, number: int) -> str:
    """The prompt of regularization picture `number`, with its `{word}` filled in.

    A word is four consonants that follow from the number alone: none means anything, and the base
    has no picture of it, as it had none of the trigger.

    >>> with_word("a {word} toy", 0)
    'a rmdx toy'
    """
    letters = (_RARE[counter(number, "word", place) % len(_RARE)] for place in range(4))
    return text.replace("{word}", "".join(letters))
