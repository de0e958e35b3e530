"""Data folders: found, looked at, and made into a manifest."""

from __future__ import annotations

import unicodedata
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from lora_recipes.console import PlainReporter
from lora_recipes.dataset import manifest
from lora_recipes.dataset.build import build
from lora_recipes.dataset.find import READ, UNREAD
from lora_recipes.recipe.sections.dataset import Dataset
from lora_recipes.reporting import Quiet
from tests.fuzz.folders import FOLDERS, Item, make
from tests.fuzz.property import fuzz, outcome

DATASETS = st.builds(
    Dataset,
    trigger=st.sampled_from(("none", "rex", "\x1b[2J", "Füße")),
    heldout=st.sampled_from(("none", "none", "held")),
    control=st.sampled_from(("none", "none", "other", "held")),
    template=st.sampled_from(("a photo", "a {trigger} {class_word}", "{x} {", "%s")),
)


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


@fuzz(500)
@example([Item("a\nFORGED: all is well.png", "link", "self")], Dataset())
@given(wanted=FOLDERS, dataset=DATASETS)
def test_a_data_folder_is_a_manifest_or_refused_by_name(here: Path, wanted, dataset: Dataset):
    folder = here / "data"
    made = make(folder, wanted)
    result = outcome(lambda: build(folder, dataset, here / "facts.json", PlainReporter()))
    if result.value is not None:
        _hold_manifest(here, folder, dataset, result.value, made)


def _hold_manifest(
    here: Path, folder: Path, dataset: Dataset, built: manifest.Manifest, made: list[Item]
) -> None:
    """Every visible picture is in it once, and another look, or the file, gives the same."""
    seen = {item.name for item in made if item.kind in ("file", "link") and not item.is_left_out}
    pictures = sorted(n for n in seen if Path(n).suffix.lower() in READ | UNREAD)
    assert sorted(image.path for image in built.images) == pictures
    for image in built.images:
        assert image.caption == unicodedata.normalize("NFC", " ".join(image.caption.split()))
        assert image.repeats >= 1
        assert 0 < image.width * image.height <= 12 * 12
    again = build(folder, dataset, here / "facts.json", Quiet())
    assert again == built
    manifest.write(here / "manifest.json", built)
    assert manifest.read(here / "manifest.json") == built
