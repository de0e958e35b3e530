"""What a run can tell about its adapter: said by `plan` before it, and by the page after it."""

from __future__ import annotations

from lora_recipes.recipe.sections.dataset import Dataset

HELDOUT = "heldout"
"""What guide, demo and advice call the sub-folder."""

DEMO = "data/demo"
"""What the pocket was made to learn."""


def no_verdict(data: str) -> str:
    """Why nobody can tell whether an adapter learned, and what to do.

    Args:
        data: the data folder as params.yaml names it; empty where that is not known.
    """
    folder = f"{data.rstrip('/')}/{HELDOUT}" if data else f"{HELDOUT}/ in your data folder"
    return (
        "no pictures are held out, so nobody can tell whether it learned: "
        f"put 1 or 2 into {folder} and set dataset.heldout: {HELDOUT}"
    )


def unless_held_out(dataset: Dataset, data: str) -> str:
    """`no_verdict` where no pictures are to be held out; else empty."""
    return no_verdict(data) if dataset.heldout == "none" else ""


def no_likeness(model: str, data: str) -> str:
    """What somebody's photos give on the small model that ships; empty for other models.

    Args:
        model: `base.model`.
        data: as `no_verdict` has it.
    """
    if model != "pocket" or data.rstrip("/") == DEMO:
        return ""
    return (
        "the pocket draws coloured shapes, not photos: this run shows that your data and settings "
        "go through, not likeness"
    )
