"""What is needed to judge a run: said by `plan` before it, and by the page after it."""

from __future__ import annotations

HELDOUT = "heldout"
"""What guide, demo and advice call the sub-folder."""


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
