"""The whole page: one file that opens from anywhere and asks nobody for anything."""

from __future__ import annotations

import base64
import hashlib
import re
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from lora_recipes.dataset.roles import TRAIN
from lora_recipes.pipeline import ADAPTER
from lora_recipes.recipe.judging import no_likeness
from lora_recipes.report import curves, figures, usage
from lora_recipes.report.advice import advice
from lora_recipes.report.charts import draw
from lora_recipes.report.grids import adapter_names, cards, drawn_size
from lora_recipes.report.images import embed
from lora_recipes.report.inputs import Inputs, Photo
from lora_recipes.report.settings import as_yaml, sections, spell
from lora_recipes.text import counted
from lora_recipes.tree import flat

FOLDER = Path(__file__).parent
STYLE = (FOLDER / "page.css").read_text("utf-8")
SCRIPT = (FOLDER / "page.js").read_text("utf-8")
TEMPLATES = (
    "page.html.j2",
    "pictures.html.j2",
    "training.html.j2",
    "use.html.j2",
    "pieces.html.j2",
)
"""The page, its longest sections, and what all of them import."""

MOST_SUBJECT, MOST_OTHER = 4, 2
"""Prompts that are not folded away: as many of the subject as have snapshots, and of other things.
"""

MOST_PHOTOS = 60
"""Pictures of each kind; more would make the page slow to open."""

MOST_TEXTS = 3
"""Examples of what a picture's caption becomes while training."""

PHOTO_SIDE = 224
CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")
"""Characters that HTML does not allow, and halves of surrogate pairs.

Source: https://html.spec.whatwg.org, "Preprocessing".
"""


def page(inputs: Inputs) -> str:
    """The HTML text: a pure function of the inputs, with every picture inside."""
    resolved = inputs.resolved
    losses = [step.loss for step in inputs.steps]
    unseen = curves.unseen(inputs)
    return (
        environment()
        .get_template(TEMPLATES[0])
        .render(
            inputs=inputs,
            resolved=resolved,
            policy=_policy(),
            style=Markup(STYLE),
            script=Markup(SCRIPT),
            subject=usage.subject(resolved),
            trained=sum(photo.role == TRAIN for photo in inputs.photos),
            device=usage.device(inputs.environment),
            likeness=no_likeness(resolved["base"]["model"], resolved.get("data", "")),
            readings=figures.readings(inputs),
            tiles=figures.tiles(inputs),
            advice=advice(inputs),
            compared=figures.all_compared(inputs),
            losses=figures.unseen_losses(inputs),
            best=figures.best(inputs),
            names=adapter_names(inputs),
            cards=cards(inputs),
            most_subject=MOST_SUBJECT,
            most_other=MOST_OTHER,
            size=drawn_size(inputs),
            clear=figures.is_clear(losses),
            tenths=figures.tenths(losses),
            loss=draw(curves.loss(inputs)),
            unseen=draw(unseen) if unseen else None,
            rate=None if curves.is_constant(inputs) else draw(curves.learning_rate(inputs)),
            file=ADAPTER,
            file_name=usage.file_name(resolved),
            example=usage.example(inputs),
            snippet=usage.snippet(resolved["base"], resolved["sample"]["strength"]),
            most_photos=MOST_PHOTOS,
            most_texts=MOST_TEXTS,
            settings=sections(resolved),
            settings_yaml=as_yaml(resolved),
        )
    )


def environment() -> Environment:
    """Where the templates live. Every text is escaped, and a name that is not there is an error."""
    made = Environment(
        loader=FileSystemLoader(FOLDER),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_printable,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    made.filters |= {
        "counted": counted,
        "flat": flat,
        "percent": figures.percent,
        "size": figures.size,
        "spell": spell,
        "thumbnail": _thumbnail,
    }
    return made


def _thumbnail(photo: Photo) -> Any:
    return embed(photo.path, PHOTO_SIDE)


def _printable(value: Any) -> Any:
    """Text without the control characters that HTML does not allow; they become U+FFFD."""
    return CONTROL.sub("\ufffd", value) if type(value) is str else value


def _policy() -> str:
    """Nothing is loaded, and no style or script counts but this package's own, known by hash."""
    return (
        f"default-src 'none'; img-src data:; style-src '{_hash(STYLE)}'; "
        f"script-src '{_hash(SCRIPT)}'; base-uri 'none'; form-action 'none'"
    )


def _hash(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode("ascii")
