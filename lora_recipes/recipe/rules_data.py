"""The rules of words and of folders with pictures."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from lora_recipes.recipe.fields import show
from lora_recipes.recipe.model import Recipe
from lora_recipes.recipe.near import did_you_mean
from lora_recipes.recipe.rule import Finding, rule
from lora_recipes.recipe.words import PLACEHOLDERS, placeholders


@rule("dataset.template")
def template_uses_known_words(recipe: Recipe, root: Path) -> Iterator[Finding]:
    """In `dataset.template`, braces hold `trigger` or `class_word`. That these are given is asked
    for only if an image has no caption of its own."""
    yield from _odd_braces("dataset.template", recipe.dataset.template, None)


@rule("dataset.caption.prefix", "dataset.caption.suffix")
def prefix_and_suffix_use_known_words(recipe: Recipe, root: Path) -> Iterator[Finding]:
    """In `dataset.caption.prefix` and `.suffix`, braces hold `trigger` or `class_word`."""
    for key, text in _around(recipe):
        yield from _odd_braces(key, text, None)


@rule("dataset.caption.prefix", "dataset.caption.suffix", "dataset.trigger", moment="run")
def prefix_and_suffix_need_their_trigger(recipe: Recipe, root: Path) -> Iterator[Finding]:
    """A prefix or suffix with `{trigger}` needs `dataset.trigger`. A recipe may leave it to its
    user; a run may not."""
    for key, text in _around(recipe):
        if "trigger" in placeholders(text) and recipe.dataset.trigger == "none":
            yield Finding(
                "dataset.trigger",
                f"the word for your subject, where {key} holds {{trigger}}",
                "write, for example, `trigger: zwk` under dataset: in params.yaml, or take "
                f"{{trigger}} out of {key}",
                f" beside {key} = {show(text)}",
            )


@rule(
    "dataset.caption.tag_dropout",
    "dataset.caption.keep_tokens",
    "dataset.caption.keep_tokens_separator",
    "dataset.caption.prefix",
    "dataset.trigger",
    level="warning",
)
def tag_dropout_keeps_the_trigger(recipe: Recipe, root: Path) -> Iterator[Finding]:
    """Tags that are left out should not be the trigger: `dataset.caption.keep_tokens` or
    `.keep_tokens_separator` keeps it, or it stands in `.prefix`."""
    settings, trigger = recipe.dataset.caption, recipe.dataset.trigger
    kept = settings.keep_tokens > 0 or settings.keep_tokens_separator != "none"
    in_front = trigger in settings.prefix or "trigger" in placeholders(settings.prefix)
    if settings.tag_dropout > 0 and trigger != "none" and not kept and not in_front:
        yield Finding(
            "dataset.caption.tag_dropout",
            "0 where nothing keeps the trigger: it is left out like any other tag",
            "write `keep_tokens: 1` and the trigger as each caption's first tag, or "
            "`prefix: '{trigger},'`",
            f" beside dataset.trigger = {show(trigger)} and dataset.caption.keep_tokens = 0",
        )


@rule("sample.prompts")
def prompts_use_known_words(recipe: Recipe, root: Path) -> Iterator[Finding]:
    """In `sample.prompts`, braces hold `trigger` or `class_word`."""
    for position, prompt in enumerate(recipe.sample.prompts):
        yield from _odd_braces("sample.prompts", prompt, position)


@rule("sample.prompts", "dataset.trigger", moment="run")
def prompts_need_their_trigger(recipe: Recipe, root: Path) -> Iterator[Finding]:
    """A prompt with `{trigger}` needs `dataset.trigger`. A recipe may leave it to its user; a run
    may not. A class word may be missing: its place stays empty."""
    prompts = [text for text in recipe.sample.prompts if "trigger" in placeholders(text)]
    if prompts and recipe.dataset.trigger == "none":
        yield Finding(
            "dataset.trigger",
            "the word for your subject, where sample.prompts hold {trigger}",
            "write, for example, `trigger: zwk` under dataset: in params.yaml, or give prompts "
            "without {trigger} under sample: there",
            f" beside sample.prompts with {{trigger}}, such as `{show(prompts[0])}`",
        )


@rule("dataset.heldout", "dataset.control")
def heldout_and_control_differ(recipe: Recipe, root: Path) -> Iterator[Finding]:
    """Held-out pictures and pictures of other things lie in two folders."""
    folder = recipe.dataset.control
    if folder != "none" and folder == recipe.dataset.heldout:
        yield Finding(
            "dataset.control",
            "another folder than dataset.heldout",
            "put pictures of other things into a folder of their own, or write none",
            f" beside dataset.heldout = {folder}",
        )


def _around(recipe: Recipe) -> Iterator[tuple[str, str]]:
    yield "dataset.caption.prefix", recipe.dataset.caption.prefix
    yield "dataset.caption.suffix", recipe.dataset.caption.suffix


def _odd_braces(key: str, text: str, position: int | None) -> Iterator[Finding]:
    odd = [name for name in placeholders(text) if name not in PLACEHOLDERS]
    if odd:
        names = ", ".join(f"{{{show(name)}}}" for name in odd)
        yield Finding(
            key,
            "{trigger} and {class_word}",
            did_you_mean(odd[0], PLACEHOLDERS, f"take out {names}"),
            position=position,
        )
