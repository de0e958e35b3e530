"""Did the demo's adapter learn? The judge's figures for the pictures in a samples folder.

`python -m pocket_training.evaluate out/samples` prints them and exits with 1 where they miss
what the README promises.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from pocket_training.judge import background_colour, finds_subject

EVALUATION_PROMPTS: tuple[tuple[str, str], ...] = (
    ("a photo of a zwk toy on a pink background", "pink"),
    ("a photo of a zwk toy on a purple background", "purple"),
    ("a photo of a zwk toy on an orange background", "orange"),
    ("a photo of a zwk toy on a yellow background", "yellow"),
    ("a picture of a zwk toy on a pink background", "pink"),
    ("a zwk toy on a purple background", "purple"),
    ("an image of a zwk toy on an orange background", "orange"),
    ("a zwk toy, yellow background", "yellow"),
    ("a zwk toy in a pink room", "pink"),
    ("a photo of a zwk toy in front of a purple wall", "purple"),
    ("a picture of a zwk toy in an orange room", "orange"),
    ("an image of a zwk toy in front of a yellow wall", "yellow"),
    ("a picture of a zwk toy on a red background", "red"),
    ("a zwk toy in front of a blue wall", "blue"),
    ("a photo of a zwk toy in a green room", "green"),
    ("an image of a zwk toy on a black background", "black"),
    ("a zwk toy in a white room", "white"),
    ("a picture of a zwk toy, green background", "green"),
)
"""Prompts with the trigger that are no training caption, and the background that each asks for."""

SUBJECT_WITH_ADAPTER = 0.80
"""The share of the adapter's pictures that must show the subject."""
SUBJECT_WITHOUT = 0.10
"""The share of the base's pictures that may show it."""
BACKGROUND_WITH_ADAPTER = 0.70
"""The share of the adapter's pictures that must have the prompt's background."""


@dataclass(frozen=True)
class Figures:
    """Shares of the pictures of one kind, 0 to 1."""

    pictures: int
    subject: float
    background: float


def figures(samples: Path, adapter: str) -> Figures:
    """What the judge sees in a folder's pictures of the evaluation prompts.

    Args:
        samples: the sample stage's folder, with its index.json.
        adapter: `none` for the base's pictures, `final` for the adapter's.
    """
    asked = dict(EVALUATION_PROMPTS)
    index = json.loads((samples / "index.json").read_text("utf-8"))
    chosen = [p for p in index["pictures"] if p["adapter"] == adapter and p["prompt"] in asked]
    subject = background = 0
    for picture in chosen:
        with Image.open(samples / picture["file"]) as image:
            subject += finds_subject(image)
            background += background_colour(image) == asked[picture["prompt"]]
    count = len(chosen)
    return Figures(count, subject / max(count, 1), background / max(count, 1))


def verdict(base: Figures, adapter: Figures) -> list[str]:
    """What is missing from a demo that has learned its subject; empty if nothing is."""
    missing = []
    if adapter.pictures < len(EVALUATION_PROMPTS) or base.pictures < len(EVALUATION_PROMPTS):
        missing.append(f"pictures of all {len(EVALUATION_PROMPTS)} evaluation prompts")
    if adapter.subject < SUBJECT_WITH_ADAPTER:
        missing.append(f"the subject in at least {SUBJECT_WITH_ADAPTER:.0%} with the adapter")
    if base.subject > SUBJECT_WITHOUT:
        missing.append(f"the subject in at most {SUBJECT_WITHOUT:.0%} without it")
    if adapter.background < BACKGROUND_WITH_ADAPTER:
        missing.append(f"the asked background in at least {BACKGROUND_WITH_ADAPTER:.0%}")
    return missing


def main() -> int:
    """Print the table; 1 if the demo did not learn."""
    parser = argparse.ArgumentParser(description="Judge the demo's pictures.")
    parser.add_argument("samples", type=Path, nargs="?", default=Path("out/samples"))
    samples = parser.parse_args().samples
    base, adapter = figures(samples, "none"), figures(samples, "final")
    print(f"{'':14}{'pictures':>9}{'subject':>9}{'background':>12}")
    for name, found in (("base", base), ("with adapter", adapter)):
        print(f"{name:14}{found.pictures:9}{found.subject:9.0%}{found.background:12.0%}")
    missing = verdict(base, adapter)
    for wish in missing:
        print(f"missing: {wish}", file=sys.stderr)
    return 1 if missing else 0


if __name__ == "__main__":
    sys.exit(main())
