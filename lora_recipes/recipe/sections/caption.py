"""What becomes of captions between the data folder and the text encoders."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from lora_recipes.recipe.sections.kinds import Advised, Allowed, Name, Seed, Short
from lora_recipes.recipe.sections.section import BelongsTo, HeaderField, Off, Section

WHERE_TAGS_VARY = BelongsTo(
    "dataset.caption.shuffle", (True,), or_else=BelongsTo("dataset.caption.tag_dropout", above=0)
)

Mark = Annotated[
    str,
    Field(min_length=1, max_length=16, pattern=r"\S"),
    Allowed("a text of 1 to 16 letters, not of spaces"),
]


class CaptionSettings(Section):
    """Captions as tags that change their order, texts around them, and several for one picture."""

    shuffle: Annotated[
        bool, Off(False), HeaderField("ss_shuffle_caption"), Short("tags in another order")
    ] = False
    """Whether a caption's tags come in changing order, so that none is learned by its place.

    With: `dataset.caption.keep_tokens` for those that stay in front; `dataset.caption.variants`
    says how many orders there are. For tags, not for sentences.
    Source: kohya-ss/sd-scripts (`shuffle_caption`).
    """

    tag_dropout: Annotated[
        float,
        Field(ge=0, le=1),
        Advised(0, 0.5),
        Off(0.0),
        HeaderField("ss_caption_tag_dropout_rate"),
        Short("0 is off"),
    ] = 0.0
    """The share of a caption's tags that is left out, each by its own chance.

    Higher: no tag is relied on, and what all pictures share goes to the tags that are kept.
    Lower: captions as they are; 0 is off.
    With: tags that are kept (`dataset.caption.keep_tokens`) are never left out. One of the
    `dataset.caption.variants` is the caption as written, whole.
    Source: kohya-ss/sd-scripts (`caption_tag_dropout_rate`).
    """

    separator: Annotated[Mark, WHERE_TAGS_VARY, Short("what stands between tags")] = ","
    """What stands between two tags. Spaces around it do not count.

    With: belongs to `dataset.caption.shuffle` and `dataset.caption.tag_dropout`.
    Source: kohya-ss/sd-scripts (`caption_separator`).
    """

    keep_tokens: Annotated[
        int,
        Field(ge=0, le=1000),
        Off(0),
        WHERE_TAGS_VARY,
        HeaderField("ss_keep_tokens"),
        Short("tags that stay in front"),
    ] = 0
    """How many tags at the front keep their place and are never left out.

    Higher: more of the caption stays as written. Lower: less; at 0 even the trigger word moves.
    With: counts the caption's own tags; `dataset.caption.prefix` stays in front of them in any
    case. A caption with `dataset.caption.keep_tokens_separator` in it is cut there instead.
    Source: kohya-ss/sd-scripts (`keep_tokens`; its count begins with the prefix).
    """

    keep_tokens_separator: Annotated[
        Mark,
        Off("none"),
        WHERE_TAGS_VARY,
        Short("such as |||"),
    ] = "none"
    """What stands in a caption behind the tags that stay, such as `|||`, or `none`.

    A second one begins tags that stay at the end. The model never sees the marks themselves.
    With: captions without it go by `dataset.caption.keep_tokens`.
    Source: kohya-ss/sd-scripts (`keep_tokens_separator`).
    """

    variants: Annotated[
        int,
        Field(ge=2, le=1000),
        Advised(4, 64),
        WHERE_TAGS_VARY,
        Short("texts made of each caption"),
    ] = 8
    """How many texts are made of each caption, the caption as written among them.

    All are encoded before training, which draws one of them for each look at the picture.
    Higher: more orders; time and disk of encoding grow with it, 0.6 MB a text with SDXL. Lower:
    fewer; each is seen more often.
    With: `plan` says how many texts there are, and their size.
    Source: this project; kohya draws without a bound, and cannot keep encoded captions then.
    """

    seed: Annotated[Seed, WHERE_TAGS_VARY] = 0
    """Where the chance of orders and left-out tags starts.

    Another number gives other texts.
    Source: this project.
    """

    prefix: Annotated[Name, Off("none"), Short("words before every caption")] = "none"
    """Words before every caption of the subject, or `none`.

    With: may use `{trigger}` and `{class_word}`. Never moved, never left out; a comma between it
    and the caption has to be a part of it. Pictures of other things go without.
    Source: kohya-ss/sd-scripts (`caption_prefix`).
    """

    suffix: Annotated[Name, Off("none"), Short("words after every caption")] = "none"
    """Words after every caption of the subject, or `none`.

    With: as `dataset.caption.prefix`.
    Source: kohya-ss/sd-scripts (`caption_suffix`).
    """

    lines: Annotated[bool, Off(False), Short("each line of a file is a caption")] = False
    """Whether each line of a caption file is a caption (`true`) or a line end just a space.

    With: one of a picture's captions is drawn for each look at it. In metadata.jsonl, `text` may be
    a list of captions in any case. Pictures that are never trained on keep the first.
    Source: kohya-ss/sd-scripts (`enable_wildcard`, for captions of several lines).
    """
