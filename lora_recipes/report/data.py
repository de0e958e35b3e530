"""The contact sheet: what the adapter was trained on, and what it was only tested on."""

from __future__ import annotations

from collections.abc import Sequence

from lora_recipes.report.html import Html, said, tag
from lora_recipes.report.images import embed
from lora_recipes.report.inputs import Inputs, Photo
from lora_recipes.report.parts import code, lead, picture, section

SHOWN = 60
"""Pictures of each kind; more would make the page slow to open."""

SIDE = 224
KINDS = {
    "train": "Trained on",
    "heldout": "Held out: the subject, never trained on",
    "others": "Others: to see what was forgotten",
}


def dataset(inputs: Inputs) -> Html:
    """All kinds of pictures with their captions."""
    groups = [
        (title, [photo for photo in inputs.photos if photo.role == role])
        for role, title in KINDS.items()
    ]
    return section(
        "dataset",
        "Dataset",
        lead(
            "As the model saw it: turned upright, scaled and cropped. Data hash ",
            code(inputs.manifest_hash),
        ),
        [_group(title, photos) for title, photos in groups if photos],
    )


def _group(title: str, photos: Sequence[Photo]) -> Html:
    hidden = len(photos) - SHOWN
    return tag(
        "div",
        tag("h3", f"{title} ({len(photos):,})"),
        tag("div", [_photo(photo) for photo in photos[:SHOWN]], class_="sheet"),
        tag("p", f"and {hidden:,} more that are not shown", class_="more") if hidden > 0 else "",
    )


def _photo(photo: Photo) -> Html:
    repeats = f" · {photo.repeats}×" if photo.repeats != 1 else ""
    return picture(
        embed(photo.path, SIDE),
        f"{photo.name}: {photo.caption}",
        tag("span", said(photo.caption)),
        tag("small", said(photo.name), f" · {photo.width} × {photo.height}{repeats}"),
    )
