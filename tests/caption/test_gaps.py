"""Which pictures get a caption, where it is written, and what stands in front of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from lora_recipes.caption.gaps import Survey, survey, worded
from lora_recipes.caption.target import target_of
from lora_recipes.errors import UserError
from lora_recipes.recipe.sections.dataset import Dataset
from tests.dataset.pictures import put


def look(folder: Path, front: str | None = None, overwrite: bool = False, **dataset: str):
    return survey(folder, Dataset(**dataset), front, overwrite=overwrite)


def gaps(found: Survey, folder: Path) -> dict[str, tuple[str, str]]:
    return {
        gap.picture.path: (gap.file.relative_to(folder).as_posix(), gap.front) for gap in found.gaps
    }


def test_pictures_without_a_file_or_a_line_of_metadata_get_a_caption(root: Path):
    target = target_of(root, None)
    found = survey(target.folder, target.dataset, None, overwrite=False)
    assert gaps(found, target.folder) == {
        "c.png": ("c.txt", "zwk"),
        "deep/d.png": ("deep/d.txt", "zwk"),
        "others/e.png": ("others/e.txt", ""),  # shows other things, so no trigger
    }
    assert found.kept == 2


def test_overwrite_means_files_of_any_suffix_and_never_metadata(root: Path):
    data = root / "data/my"
    put(data, "c.caption", "")
    found = look(data, overwrite=True, front="rex", control="others")
    assert gaps(found, data)["a.png"] == ("a.txt", "rex")
    assert gaps(found, data)["c.png"] == ("c.caption", "rex")
    assert found.listed == ["b.png"]
    assert look(data, control="others").empty == ["c.png"]  # kept, and told


@pytest.mark.parametrize(
    ("dataset", "trigger", "front"),
    [
        ({}, None, "rex dog"),
        ({"trigger": "zwk"}, None, "zwk"),
        ({"trigger": "zwk"}, "kip", "kip"),
        ({"trigger": "zwk"}, "none", ""),
        ({}, "two  words\n", "two words"),
    ],
)
def test_a_folders_words_stand_in_front_where_there_is_no_trigger(
    tmp_path: Path, dataset: dict[str, str], trigger: str | None, front: str
):
    """`10_rex dog` was the caption of its pictures until now."""
    put(tmp_path, "10_rex dog/a.png")
    found = look(tmp_path, trigger, **dataset)
    assert gaps(found, tmp_path) == {"10_rex dog/a.png": ("10_rex dog/a.txt", front)}


@pytest.mark.parametrize(
    ("front", "said", "caption"),
    [
        ("rex", "a dog\n on  a beach", "rex, a dog on a beach"),
        ("rex", "a photo of Rex dog", "a photo of Rex dog"),
        ("rex", "t-rexes", "rex, t-rexes"),
        ("", " , a dog,", "a dog"),
        ("", "cafe\u0301 \x1b[31m\u202e\0x", "café [31m x"),
        ("", "a star \ufffd", "a star"),
        ("", "\n , ", ""),
    ],
)
def test_what_a_model_says_is_tidied_and_the_trigger_is_never_there_twice(front, said, caption):
    assert worded(front, said) == caption


def test_a_part_of_the_data_folder_and_a_folder_that_no_recipe_knows(root: Path):
    part = target_of(root, "data/my/others")
    assert (part.folder, part.below, part.is_data) == (root / "data/my", "others", True)
    found = survey(part.folder, part.dataset, None, overwrite=False, below=part.below)
    assert [gap.picture.path for gap in found.gaps] == ["others/e.png"]
    assert target_of(root, "data/my/").below == ""
    other = target_of(root, "data/else")
    assert (other.is_data, other.dataset.trigger) == (False, "none")


def test_what_would_be_doubtful_or_cannot_be_read_is_named_all_at_once(root: Path):
    data = root / "data/my"
    put(data, "c.jpg", b"no picture")
    put(data, "f.png", b"")
    with pytest.raises(UserError) as error:
        look(data, control="others")
    assert str(error.value) == (
        "data/my/c.jpg: its caption c.txt could belong to c.jpg or c.png\n"
        "  fix:     rename one of the pictures\n"
        "data/my/c.jpg: is named .jpg but holds no picture\n"
        "  fix:     give it its right suffix, or move it out of the data folder\n"
        "data/my/f.png: is empty (0 bytes)\n"
        "  fix:     copy it again from where it came, or delete it"
    )


def test_captions_that_are_wrong_already_are_named(root: Path):
    put(root / "data/my", "b.txt", "and from a file")
    with pytest.raises(UserError, match=r"data/my/b.png: has two captions"):
        look(root / "data/my", control="others")


@pytest.mark.parametrize(
    ("below", "what"), [("none", "there is no such folder"), ("empty", "holds no pictures")]
)
def test_a_part_without_pictures_is_named(root: Path, below: str, what: str):
    (root / "data/my/empty").mkdir()
    with pytest.raises(UserError) as error:
        survey(root / "data/my", Dataset(control="others"), None, overwrite=False, below=below)
    assert str(error.value) == (f"data/my/{below}: {what}\n  fix:     name a folder with pictures")


@pytest.mark.parametrize("prefix", ["{trigger} toy,", "Zwk toy,"])
def test_a_prefix_that_holds_the_trigger_puts_it_in_front_already(tmp_path: Path, prefix: str):
    put(tmp_path, "a.png")
    section = Dataset(trigger="zwk", caption={"prefix": prefix})
    for trigger, front in ((None, ""), ("kip", "kip")):
        (gap,) = survey(tmp_path, section, trigger, overwrite=False).gaps
        assert gap.front == front
