"""Data that differ from their pin are named file by file."""

from __future__ import annotations

from pathlib import Path

import pytest

from lora_recipes.dataset.pin import (
    accept,
    check_pin,
    drop_listing,
    listing_path,
    look,
    read_listing,
)
from lora_recipes.errors import UserError
from lora_recipes.recipe.sections.dataset import Dataset
from lora_recipes.reporting import Quiet
from tests.dataset.pictures import photo, project, put
from tests.provenance.git import commit, make_repository

TOY = {"trigger": "zwk", "class_word": "toy"}
PUT_BACK = "put the pinned files back from your backup"


@pytest.fixture(autouse=True)
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project with three pictures, of which one has its own caption."""
    monkeypatch.chdir(tmp_path)
    project(tmp_path, TOY)
    for number, name in enumerate(["a.png", "b.png", "sub/c.png"]):
        put(tmp_path / "data" / "my", name, photo(seed=number))
    put(tmp_path / "data" / "my", "a.txt", "a zwk toy")
    return tmp_path


def check(root: Path, pin: str, **dataset: str) -> Quiet:
    report = Quiet()
    manifest = look(root, Dataset(**(TOY | dataset)), Quiet())
    check_pin(root, root / "data" / "my", manifest, pin, report)
    return report


def complaint(root: Path, pin: str, **dataset: str) -> list[str]:
    """The error's lines between the first, which names the hashes, and the fix."""
    with pytest.raises(UserError) as caught:
        check(root, pin, **dataset)
    now = look(root, Dataset(**(TOY | dataset)), Quiet()).hash
    first, *lines, fix = str(caught.value).split("\n")
    assert first == f"data/my: the data are {now}, but dataset.manifest pins {pin}"
    pin = "`python -m lora_recipes pin`"
    assert fix == f"  fix:     {PUT_BACK}, or accept the data as they are: {pin}"
    return lines


@pytest.fixture
def pin(root: Path) -> str:
    return accept(root, Dataset(**TOY)).hash


def test_unpinned_data_pass_with_a_warning_that_tells_the_hash(root):
    report = check(root, "unpinned")
    now = look(root, Dataset(**TOY), Quiet()).hash
    assert report.warned == [
        f"data/my: unpinned data, {now}; `python -m lora_recipes pin` makes sure that a later "
        "run gets the same"
    ]


def test_pinned_data_pass(root, pin):
    report = check(root, pin)
    assert (report.said, report.warned) == ([f"data/my: as pinned, {pin}"], [])


def test_an_added_picture_is_named(root, pin):
    put(root / "data" / "my", "sub/new.png", photo(seed=9))
    assert complaint(root, pin) == ["  added:    sub/new.png"]


def test_a_removed_picture_is_named(root, pin):
    (root / "data" / "my" / "b.png").unlink()
    assert complaint(root, pin) == ["  removed:  b.png"]


def test_a_renamed_picture_is_named_with_both_names(root, pin):
    (root / "data" / "my" / "b.png").rename(root / "data" / "my" / "sub" / "d.png")
    assert complaint(root, pin) == ["  renamed:  b.png -> sub/d.png"]


def test_a_changed_picture_is_named(root, pin):
    put(root / "data" / "my", "b.png", photo(seed=9))
    assert complaint(root, pin) == ["  changed:  b.png"]


def test_a_changed_caption_is_named_with_both_texts(root, pin):
    put(root / "data" / "my", "a.txt", "a zwk doll")
    assert complaint(root, pin) == ['  caption:  a.png: "a zwk toy" -> "a zwk doll"']


def test_a_caption_more_is_named_with_all_of_them(root, pin):
    folder = root / "data" / "my"
    (folder / "a.txt").unlink()
    line = '{"file_name": "a.png", "text": ["a zwk toy", "zwk"]}'
    put(folder, "metadata.jsonl", line)
    assert complaint(root, pin) == ['  caption:  a.png: "a zwk toy" -> "a zwk toy", "zwk"']
    several = accept(root, Dataset(**TOY)).hash
    put(folder, "metadata.jsonl", line.replace('"zwk"]', '"zwk", "toy"]'))
    assert complaint(root, several) == [
        '  caption:  a.png: "a zwk toy", "zwk" -> "a zwk toy", "zwk", "toy"'
    ]


SETTINGS = (
    "  fix:     accept the data as they are: `python -m lora_recipes pin`; or put dataset.trigger, "
    "class_word, template, heldout and control, or caption files, back: the pictures are those "
    "that were pinned"
)


def test_another_template_or_role_is_to_be_accepted_before_anything_is_put_back(root, pin):
    for changed, lines in (
        (
            {"class_word": "doll"},
            '  caption:  b.png: "a photo of zwk toy" -> "a photo of zwk doll"\n'
            '  caption:  sub/c.png: "a photo of zwk toy" -> "a photo of zwk doll"\n',
        ),
        ({"heldout": "sub"}, "  role:     sub/c.png: train -> heldout\n"),
    ):
        now = look(root, Dataset(**(TOY | changed)), Quiet()).hash
        with pytest.raises(UserError) as caught:
            check(root, pin, **changed)
        head = f"data/my: the data are {now}, but dataset.manifest pins {pin}\n"
        assert str(caught.value) == head + lines + SETTINGS


def test_changed_repeats_are_named(root, pin):
    folder = root / "data" / "my"
    (folder / "sub").rename(folder / "4_zwk toy")
    assert complaint(root, pin) == [
        "  renamed:  sub/c.png -> 4_zwk toy/c.png",
        "  repeats:  4_zwk toy/c.png: 1 -> 4",
        '  caption:  4_zwk toy/c.png: "a photo of zwk toy" -> "zwk toy"',
    ]


def test_two_pictures_that_change_places_are_both_changed(root, pin):
    folder = root / "data" / "my"
    (folder / "b.png").rename(folder / "x")
    (folder / "sub" / "c.png").rename(folder / "b.png")
    (folder / "x").rename(folder / "sub" / "c.png")
    assert complaint(root, pin) == ["  changed:  b.png", "  changed:  sub/c.png"]


def test_all_changes_are_named_at_once(root, pin):
    folder = root / "data" / "my"
    (folder / "sub" / "c.png").unlink()
    (folder / "b.png").rename(folder / "z.png")
    put(folder, "new.png", photo(seed=9))
    put(folder, "a.txt", "other words")
    assert complaint(root, pin) == [
        "  added:    new.png",
        "  removed:  sub/c.png",
        "  renamed:  b.png -> z.png",
        '  caption:  a.png: "a zwk toy" -> "other words"',
    ]


@pytest.mark.parametrize("damage", ["missing", "not json", "another", "no list"])
def test_without_its_listing_a_pin_is_only_a_hash(root, pin, damage):
    path = listing_path(root, pin)
    text = path.read_text()
    if damage == "missing":
        path.unlink()
    else:
        path.write_text({"not json": "{", "another": text.replace("zwk", "xyz")}.get(damage, "{}"))
    assert read_listing(root, pin) is None
    put(root / "data" / "my", "new.png", photo(seed=9))
    kept = f"recipes/pins/{pin[7:23]}.json"
    assert complaint(root, pin) == [
        f"  which files differ is not known: {kept} is missing or does not fit the pin"
    ]


def test_only_what_git_has_is_said_to_come_back_from_git(root, pin):
    def fix() -> str:
        with pytest.raises(UserError) as caught:
            check(root, pin)
        return str(caught.value).split("\n")[-1].removeprefix("  fix:     ")

    accept_it = ", or accept the data as they are: `python -m lora_recipes pin`"
    make_repository(root)
    commit(root, "start")
    (root / "data/my/b.png").unlink()
    assert fix() == f"put the pinned files back (`git checkout data/my`, or your backup){accept_it}"
    put(root, "data/my.dvc", "outs: []")
    assert fix() == PUT_BACK + accept_it
    commit(root, "tracked")
    way = "`git checkout data/my.dvc && dvc checkout data/my.dvc`"
    assert fix() == f"get the pinned files back with {way}{accept_it}"


def test_a_replaced_listing_goes_unless_a_recipe_names_its_pin(root, pin):
    put(root, "recipes/mine.yaml", f"dataset:\n  manifest: {pin}\n")
    drop_listing(root, pin)
    assert listing_path(root, pin).is_file()
    put(root, "recipes/mine.yaml", "dataset:\n  manifest: unpinned\n")
    drop_listing(root, "unpinned")
    drop_listing(root, pin)
    assert not listing_path(root, pin).exists()
    drop_listing(root, pin)


def test_a_listing_has_one_line_per_picture(root, pin):
    lines = listing_path(root, pin).read_text().split("\n")
    assert [line for line in lines if '"path"' in line] == lines[2:5]
    listing = read_listing(root, pin)
    assert listing is not None
    assert [image["path"] for image in listing] == ["a.png", "b.png", "sub/c.png"]
