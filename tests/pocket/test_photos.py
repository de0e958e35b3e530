"""The page about photos shows what the code does."""

from __future__ import annotations

import shutil
from pathlib import Path

from PIL import Image

from pocket_training import photos

REPOSITORY = Path(__file__).resolve().parents[2]
MOST_BYTES = 150_000


def test_the_pages_pictures_and_tables_are_what_the_code_makes():
    assert photos.differences(REPOSITORY) == []


def test_the_page_shows_every_picture_and_they_are_small():
    files = sorted((REPOSITORY / photos.FOLDER).iterdir())
    page = (REPOSITORY / photos.PAGE).read_text("utf-8")
    assert [file.name for file in files if f"(photos/{file.name})" not in page] == []
    assert {file.name for file in files} == {*photos.figures(), "kept.png"}
    assert sum(file.stat().st_size for file in files) < MOST_BYTES


def test_check_names_a_picture_that_is_another_one_and_an_edited_table(
    tmp_path: Path, monkeypatch, capsys
):
    shutil.copytree(REPOSITORY / "docs/photos", tmp_path / "docs/photos")
    page = (REPOSITORY / photos.PAGE).read_text("utf-8")
    (tmp_path / photos.PAGE).write_text(page.replace("896×1152", "832×1152"))
    Image.new("RGB", (4, 4)).save(tmp_path / "docs/photos/crops.png")
    (tmp_path / "docs/photos/masks.png").unlink()
    monkeypatch.chdir(tmp_path)
    assert photos.main(["--check"]) == 1
    assert capsys.readouterr().out.splitlines() == [
        f"{name}: not what `python -m pocket_training.photos` makes"
        for name in ("docs/photos/crops.png", "docs/photos/masks.png", "docs/photos.md")
    ]
    assert photos.main([]) == 0
    assert (tmp_path / photos.PAGE).read_text("utf-8") == page
