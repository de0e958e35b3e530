"""The pictures: for each prompt the base model beside the adapter, and the way in between."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

from lora_recipes.report.html import Html, said, tag
from lora_recipes.report.images import embed, side_for
from lora_recipes.report.inputs import Drawn, Inputs
from lora_recipes.report.parts import lead, picture, section

LONG_STRIP = 3
"""A strip of more pictures than this takes a row of the page for itself."""


def grids(inputs: Inputs) -> Html:
    """All sample pictures, a card per prompt and a strip per seed."""
    if not inputs.drawn:
        return section(
            "pictures",
            "Pictures",
            lead("The recipe asks for none: write prompts into sample.prompts to see some here."),
        )
    sample = inputs.resolved["sample"]
    side = side_for(len(inputs.drawn))
    last = inputs.steps[-1].step if inputs.steps else 0
    negative = sample.get("negative_prompt", "")
    return section(
        "pictures",
        "Base model beside adapter",
        lead(
            "The same prompt from the same noise, without and with the adapter",
            f" (strength {sample['strength']:g}, {sample['steps']} steps, guidance "
            f"{sample['guidance']:g}",
            [", negative prompt ", tag("q", said(negative))] if negative else "",
            ").",
            " In between: the adapter while it was still learning." if inputs.snapshots else "",
        ),
        tag(
            "div",
            [
                _card(list(drawn), side, last)
                for _, drawn in groupby(inputs.drawn, key=lambda one: one.row)
            ],
            class_="cards",
        ),
    )


def _card(drawn: Sequence[Drawn], side: int, last: int) -> Html:
    strips = [list(strip) for _, strip in groupby(drawn, key=lambda one: one.seed)]
    wide = any(len(strip) > LONG_STRIP for strip in strips)
    return tag(
        "article",
        tag("h3", said(drawn[0].prompt)),
        tag("div", [_strip(strip, side, last) for strip in strips], class_="strips"),
        class_="card wide" if wide else "card",
    )


def _strip(strip: Sequence[Drawn], side: int, last: int) -> Html:
    return tag(
        "div",
        [_picture(one, side, last) for one in strip],
        class_="strip",
        style=f"--count:{len(strip)}",
        role="group",
        aria_label=f"seed {strip[0].seed}",
    )


def _picture(one: Drawn, side: int, last: int) -> Html:
    name = {"none": "Base", "final": "Adapter"}.get(one.adapter) or _share(one.adapter, last)
    return picture(
        embed(one.path, side),
        f"{name}, seed {one.seed}: {one.prompt}",
        tag("span", name),
        tag("small", f"seed {one.seed}"),
        class_={"none": "base", "final": "adapter"}.get(one.adapter, "snapshot"),
    )


def _share(name: str, last: int) -> str:
    """A snapshot's place on the way: "Step 100 (50 %)"."""
    step = int(name.removeprefix("step-"))
    return f"Step {step:,} ({100 * step / last:.0f}\u202f%)" if last else f"Step {step:,}"
