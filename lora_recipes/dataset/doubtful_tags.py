"""Settings of tags that do nothing, or less than they say, to these captions."""

from __future__ import annotations

from collections.abc import Iterable

from lora_recipes.dataset.find import named
from lora_recipes.dataset.manifest import Image
from lora_recipes.dataset.roles import TRAIN
from lora_recipes.dataset.variants import tags_of, varies
from lora_recipes.printable import line as brief
from lora_recipes.recipe.sections.caption import CaptionSettings
from lora_recipes.reporting import Reporter


def tell_doubtful_tags(
    images: Iterable[Image], settings: CaptionSettings, report: Reporter
) -> None:
    """Warn of a separator, a mark or a number that these captions have not."""
    captions = [
        (image.path, caption)
        for image in images
        if image.role == TRAIN
        for caption in image.captions or (image.caption,)
    ]
    if not varies(settings) or not captions:
        return
    separator, mark = settings.separator.strip(), settings.keep_tokens_separator
    if mark != "none" and not any(mark in caption for _, caption in captions):
        report.warn(
            f"dataset.caption.keep_tokens_separator = {brief(mark)} stands in no caption, so "
            "dataset.caption.keep_tokens counts for all of them"
        )
    if not any(separator in caption for _, caption in captions):
        report.warn(
            f"dataset.caption.separator = {brief(separator)} stands in no caption: each is one "
            "tag, and none changes; write tags, or set dataset.caption.shuffle to false"
        )
        return
    fewest = 2 if settings.tag_dropout == 0 else 1
    fixed = [path for path, caption in captions if len(tags_of(caption, settings).loose) < fewest]
    if fixed:
        report.warn(
            f"dataset.caption.keep_tokens = {settings.keep_tokens} leaves no tags to vary in the "
            f"captions of {named(dict.fromkeys(fixed))}: they stay as written"
        )
