"""The whole page: one file that opens from anywhere and asks nobody for anything."""

from __future__ import annotations

import base64
import hashlib

from lora_recipes.report.curves import curves
from lora_recipes.report.data import dataset
from lora_recipes.report.grids import grids
from lora_recipes.report.html import Html, raw, tag
from lora_recipes.report.inputs import Inputs
from lora_recipes.report.overview import overview
from lora_recipes.report.settings import identity, settings
from lora_recipes.report.style import SCRIPT, STYLE
from lora_recipes.report.usage import usage

MENU = (
    ("pictures", "Pictures"),
    ("curves", "Training"),
    ("use", "Use"),
    ("dataset", "Dataset"),
    ("recipe", "Recipe"),
    ("identity", "Identity"),
)


def page(inputs: Inputs) -> str:
    """The HTML text: a pure function of the inputs, with every picture inside."""
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", http_equiv="Content-Security-Policy", content=_policy()),
        tag("meta", name="color-scheme", content="light dark"),
        tag("title", f"{inputs.resolved['name']} · LoRA adapter"),
        tag("style", raw(STYLE)),
    )
    menu = [tag("a", title, href=f"#{name}") for name, title in MENU]
    body = tag(
        "body",
        tag("a", "To the pictures", href="#pictures", class_="skip"),
        overview(inputs),
        tag("nav", menu, aria_label="Sections"),
        tag(
            "main",
            grids(inputs),
            curves(inputs),
            usage(inputs),
            dataset(inputs),
            settings(inputs),
            identity(inputs),
        ),
        _viewer(),
        tag("script", raw(SCRIPT)),
    )
    return "<!doctype html>\n" + tag("html", head, "\n", body, lang="en") + "\n"


def _policy() -> str:
    """Nothing is loaded, and no script runs but this package's own, known by its hash."""
    script = base64.b64encode(hashlib.sha256(SCRIPT.encode()).digest()).decode("ascii")
    return (
        "default-src 'none'; img-src data:; style-src 'unsafe-inline'; "
        f"script-src 'sha256-{script}'; base-uri 'none'; form-action 'none'"
    )


def _viewer() -> Html:
    """Where a picture opens large."""
    return tag(
        "dialog",
        tag("figure", tag("img", alt=""), tag("figcaption")),
        tag("button", "Close", type="button", class_="close"),
        aria_label="Picture",
    )
