"""What the pages name is there: files, links and modules to run."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[1]
PAGES = [
    REPOSITORY / "README.md",
    REPOSITORY / "CONTRIBUTING.md",
    *(REPOSITORY / "docs").glob("*.md"),
]

NAMED = re.compile(r"(?<![\w/.-])(?:tests|benchmarks|lora_recipes|pocket_training)/[\w/.-]*\w/?")
LINK = re.compile(r"\]\(([^)#]+)\)")
MODULE = re.compile(r"python -m ((?:benchmarks|lora_recipes|pocket_training)[\w.]*\w)")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_file_link_and_module_that_a_page_names_is_there(page: Path):
    text = page.read_text("utf-8")
    links = [link for link in LINK.findall(text) if not link.startswith("http")]
    missing = [name for name in NAMED.findall(text) if not (REPOSITORY / name).exists()]
    missing += [link for link in links if not (page.parent / link).exists()]
    for module in MODULE.findall(text):
        place = REPOSITORY.joinpath(*module.split("."))
        if not (place / "__main__.py").exists() and not place.with_suffix(".py").exists():
            missing.append(module)
    assert missing == []


def test_the_front_page_leads_to_every_other_and_stays_short():
    front = PAGES[0].read_text("utf-8")
    linked = {link.removeprefix("docs/") for link in LINK.findall(front)}
    records = {"drift.md", "kills.md"}  # of measurements; guarantees.md leads to them
    assert {page.name for page in PAGES[2:]} - records <= linked
    assert len(front.splitlines()) < 160
    proven = (REPOSITORY / "docs/guarantees.md").read_text("utf-8")
    assert records <= set(LINK.findall(proven))
    assert len(NAMED.findall(proven)) > 30
