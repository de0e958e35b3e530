"""The texts that a caption becomes: its tags in other orders, some left out, words around it.

A text is numbered, not drawn: number 0 is the caption as written, and every other one is a
function of the caption, its number and a seed. So all of them can be encoded before the training,
which draws numbers only, and equal captions have equal texts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from lora_recipes.dataset.captions import tidy
from lora_recipes.dataset.roles import HELDOUT, TRAIN, TRAINED
from lora_recipes.hashing import counter
from lora_recipes.recipe.sections.caption import CaptionSettings
from lora_recipes.recipe.sections.dataset import Dataset
from lora_recipes.recipe.words import fill

CERTAIN = 2**63
"""What `counter` never reaches."""


@dataclass(frozen=True)
class Tags:
    """A caption's tags in the order in which they are written."""

    front: tuple[str, ...]
    """Those that keep their place."""

    loose: tuple[str, ...]
    """Those that may move, or be left out."""

    end: tuple[str, ...] = ()
    """Those that keep their place behind the others."""


def texts(captions: Sequence[str], dataset: Dataset, role: str) -> tuple[str, ...]:
    """All texts that may go with a picture; the first is its first caption as written.

    Args:
        captions: the picture's own, tidied, at least one.
        dataset: the recipe's section.
        role: only the subject's captions vary where it is trained on, and only they have a prefix
            and a suffix, which may hold its trigger. Of what is never trained on, the first counts.
    """
    settings = dataset.caption
    if role != TRAIN:
        written = captions if role in TRAINED else captions[:1]
        found = [text(caption, 0, settings) for caption in written]
    else:
        numbers = range(settings.variants if varies(settings) else 1)
        found = [text(caption, number, settings) for caption in captions for number in numbers]
    if len(set(found)) == 1:
        found = found[:1]
    return tuple(around(one, dataset) if role in (TRAIN, HELDOUT) else one for one in found)


def text(caption: str, number: int, settings: CaptionSettings) -> str:
    """One text of a caption, without prefix and suffix.

    Args:
        caption: single spaces, as `captions.tidy` leaves it.
        number: 0 is the caption as written, without the marks of `keep_tokens_separator`.
        settings: `dataset.caption`.
    """
    if number == 0 and not _is_marked(caption, settings):
        return caption
    tags = tags_of(caption, settings)
    loose = tags.loose if number == 0 else _varied(caption, tags.loose, number, settings)
    return f"{settings.separator.strip()} ".join([*tags.front, *loose, *tags.end])


def tags_of(caption: str, settings: CaptionSettings) -> Tags:
    """Which tags of a caption stay where they are, and which may move. Empty ones are none."""
    if _is_marked(caption, settings):
        front, loose, *end = caption.split(settings.keep_tokens_separator, 2)
        rest = end[0].replace(settings.keep_tokens_separator, " ") if end else ""
        return Tags(_split(front, settings), _split(loose, settings), _split(rest, settings))
    tags = _split(caption, settings)
    return Tags(tags[: settings.keep_tokens], tags[settings.keep_tokens :])


def varies(settings: CaptionSettings) -> bool:
    """Whether a caption has more texts than the one that is written."""
    return settings.shuffle or settings.tag_dropout > 0


def around(caption: str, dataset: Dataset) -> str:
    """A text between the prefix and the suffix."""
    words = [
        fill(extra, dataset.trigger, dataset.class_word) if extra != "none" else ""
        for extra in (dataset.caption.prefix, dataset.caption.suffix)
    ]
    return tidy(" ".join([words[0], caption, words[1]])) if any(words) else caption


def _varied(
    caption: str, loose: tuple[str, ...], number: int, settings: CaptionSettings
) -> list[str]:
    """The tags that are not left out; all of their orders are equally likely."""

    def drawn(purpose: str, place: int) -> int:
        return counter(settings.seed, f"{purpose} of {caption}", number, place)

    places = list(range(len(loose)))
    if settings.tag_dropout > 0:
        most = settings.tag_dropout * CERTAIN
        places = [place for place in places if drawn("dropout", place) >= most]
    if settings.shuffle:
        places.sort(key=lambda place: drawn("order", place))
    return [loose[place] for place in places]


def _is_marked(caption: str, settings: CaptionSettings) -> bool:
    mark = settings.keep_tokens_separator
    return mark != "none" and mark in caption


def _split(caption: str, settings: CaptionSettings) -> tuple[str, ...]:
    tags = (" ".join(tag.split()) for tag in caption.split(settings.separator.strip()))
    return tuple(tag for tag in tags if tag)
