"""The report stage: the page `out/report/index.html`, and a few figures in `out/report.json`."""

from __future__ import annotations

import json
from pathlib import Path

from lora_recipes.files import write_text
from lora_recipes.pipeline import FIGURES, PAGE
from lora_recipes.report.figures import metrics, readings
from lora_recipes.report.inputs import read
from lora_recipes.report.page import page
from lora_recipes.reporting import Reporter


def run(root: Path, report: Reporter) -> None:
    """Gather what the other stages made into one page that opens without a server.

    Raises:
        UserError: a file is missing or damaged; it is named with the command that makes it.
    """
    inputs = read(root)
    text = page(inputs)
    figures = json.dumps(metrics(inputs), indent=1, ensure_ascii=False, sort_keys=True) + "\n"
    write_text(root / PAGE / "index.html", text)
    write_text(root / FIGURES, figures)
    report.say("verdict: " + "; ".join(reading.short for reading in readings(inputs)))
    report.say(f"page: {PAGE}/index.html")
    report.say("keep it: git add -A && git commit")
