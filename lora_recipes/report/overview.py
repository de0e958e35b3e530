"""The top of the page: what was made, and whether it learned."""

from __future__ import annotations

from lora_recipes.report import figures
from lora_recipes.report.html import Html, said, tag
from lora_recipes.report.inputs import Inputs

SIGNS = {"good": "✓", "unsure": "~", "bad": "!"}


def overview(inputs: Inputs) -> Html:
    """Name, description, the findings and the key figures."""
    resolved = inputs.resolved
    overridden = len(resolved["overridden"])
    changed = f" · {overridden} of its values changed here" if overridden else ""
    return tag(
        "header",
        tag("p", "LoRA adapter for SDXL", class_="eyebrow"),
        tag("h1", said(resolved["name"])),
        tag("p", said(resolved["description"]), class_="description")
        if resolved.get("description")
        else "",
        tag(
            "p",
            f"Recipe version {resolved['version']}{changed} · base model ",
            tag("strong", said(resolved["base"]["model"])),
            class_="byline",
        ),
        tag("ul", [_reading(one) for one in figures.readings(inputs)], class_="readings")
        if figures.readings(inputs)
        else "",
        tag("dl", [_tile(name, value) for name, value in _tiles(inputs)], class_="tiles"),
    )


def _reading(reading: figures.Reading) -> Html:
    sign = tag("span", SIGNS[reading.tone], class_="sign", aria_hidden="true")
    text = tag("div", tag("strong", reading.short), " ", tag("span", reading.long))
    return tag("li", sign, text, class_=reading.tone)


def _tile(name: str, value: str) -> Html:
    return tag("div", tag("dt", name), tag("dd", value))


def _tiles(inputs: Inputs) -> list[tuple[str, str]]:
    trained = sum(photo.role == "train" for photo in inputs.photos)
    first, last = figures.tenths([step.loss for step in inputs.steps])
    lora = inputs.resolved["lora"]
    tiles = [
        ("Images", f"{trained:,}"),
        ("Steps", f"{len(inputs.steps):,}"),
        ("Training loss", f"{first:.3f} → {last:.3f}"),
    ]
    for role, name in (("heldout", "Held-out loss"), ("others", "Loss on others")):
        both = figures.compared(inputs, role)
        if both:
            tiles.append((name, figures.percent(both.change)))
    tiles.append(("Rank / alpha", f"{lora['rank']} / {lora['alpha']:g}"))
    tiles.append(("File", figures.size(inputs.adapter.size)))
    return tiles
