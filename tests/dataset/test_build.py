"""From a folder to a manifest, and what is told on the way."""

from __future__ import annotations

import os
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lora_recipes.dataset import examine
from lora_recipes.dataset.build import build
from lora_recipes.dataset.manifest import Manifest
from lora_recipes.errors import UserError
from lora_recipes.hashing import sha256_file
from lora_recipes.recipe.sections.dataset import Dataset
from lora_recipes.reporting import Quiet
from tests.dataset.pictures import data_of, photo, put

TOY = {"trigger": "zwk", "class_word": "toy"}


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path / "data"


def look(folder: Path, **dataset: str) -> tuple[Manifest, Quiet]:
    report = Quiet()
    section = Dataset(**(TOY | dataset))
    return build(folder, section, folder.parent / ".lora" / "cache.json", report), report


def test_a_manifest_lists_each_picture_with_hash_size_and_caption(folder):
    put(folder, "3_a zwk/b.jpg", data_of(photo(50, 20), "JPEG"))
    file = put(folder, "a.png", photo(30, 40))
    put(folder, "a.txt", "own words")
    manifest, _ = look(folder)
    numbered, own = manifest.images
    assert (own.path, own.role, own.sha256) == ("a.png", "train", sha256_file(file))
    assert (own.width, own.height, own.format) == (30, 40, "PNG")
    assert (own.caption, own.caption_from, own.repeats) == ("own words", "file", 1)
    assert (numbered.width, numbered.height, numbered.format) == (50, 20, "JPEG")
    assert (numbered.caption, numbered.caption_from, numbered.repeats) == ("a zwk", "folder", 3)


def test_sizes_are_those_after_the_exif_orientation(folder):
    exif = Image.Exif()
    exif[0x0112] = 8
    put(folder, "a.jpg", data_of(photo(50, 20), "JPEG", exif=exif))
    manifest, report = look(folder)
    assert (manifest.images[0].width, manifest.images[0].height) == (20, 50)
    assert "1 picture turned upright as their EXIF orientation asks: a.jpg" in report.said


def test_only_what_is_trained_on_is_repeated(folder):
    put(folder, "a.png")
    put(folder, "held/5_zwk/b.png")
    manifest, _ = look(folder, heldout="held")
    assert [(image.role, image.repeats) for image in manifest.images] == [
        ("heldout", 1),
        ("train", 1),
    ]


def test_the_manifest_does_not_depend_on_where_the_folder_lies(folder, tmp_path):
    put(folder, "sub/a.png")
    first, _ = look(folder)
    (tmp_path / "10_elsewhere").mkdir()
    moved = folder.rename(tmp_path / "10_elsewhere" / "data")
    assert look(moved)[0] == first


def test_all_damaged_files_are_named_at_once_and_in_order(folder):
    put(folder, "ok.png")
    put(folder, "z.png", b"")
    put(folder, "list.jpg", "a shopping list")
    put(folder, "cut.png", data_of(photo())[:100])
    put(folder, "ok.txt", b"\xff\xfe")
    with pytest.raises(UserError) as caught:
        look(folder)
    assert str(caught.value) == (
        "data/cut.png: is a damaged PNG (image file is truncated)\n"
        "  fix:     copy it again from where it came, or delete it\n"
        "data/list.jpg: is named .jpg but holds no picture\n"
        "  fix:     give it its right suffix, or move it out of the data folder\n"
        "data/ok.txt: is not UTF-8: byte 0xff at offset 0\n"
        "  fix:     save it as UTF-8 in your editor\n"
        "data/z.png: is empty (0 bytes)\n"
        "  fix:     copy it again from where it came, or delete it"
    )


def test_no_repeats_are_an_error(folder):
    put(folder, "0_zwk/a.png")
    with pytest.raises(UserError) as caught:
        look(folder)
    assert str(caught.value) == (
        "data: their folder's name asks for 0 repeats: 0_zwk/a.png\n"
        "  allowed: a number from 1 in names such as `10_zwk toy`\n"
        "  fix:     rename the folder, or move it out of the data folder"
    )


def test_counts_shapes_and_sources_are_told(folder):
    for number in range(3):
        put(folder, f"{number}.png", photo(30, 20, number))
    put(folder, "held/3.png", photo(20, 20, 3))
    put(folder, "held/3.txt", "words")
    _, report = look(folder, heldout="held")
    assert report.said == [
        "pictures: 3 to train on, 1 held out",
        "shapes: 3:2 (3), 1:1 (1); the smallest is held/3.png, 20×20",
        "captions: 1 from files beside the pictures, 3 from dataset.template",
    ]
    assert report.warned == []


def test_what_is_unusual_is_told_once_per_kind(folder):
    for number in range(10):
        picture = photo(seed=number)
        picture.putalpha(number)
        put(folder, f"{number}.jpg", picture)
    _, report = look(folder)
    names = "0.jpg, 1.jpg, 2.jpg, 3.jpg, 4.jpg, 5.jpg, 6.jpg, 7.jpg and 2 more"
    assert report.said[3:] == [
        f"10 pictures named .jpg but holding PNG, which is what counts: {names}",
        f"10 pictures partly transparent, where prepare.background shows: {names}",
    ]


def test_what_may_be_a_slip_is_warned_of(folder):
    put(folder, "a.png")
    put(folder, "a.txt", "")
    put(folder, "b.txt", "words")
    put(folder, "2024_holiday/c.png")
    put(folder, "metadata.csv", "file_name,text\na.png,words\n")
    put(folder, "backup.png~")
    _, report = look(folder, trigger="holiday")
    assert report.warned == [
        "1 picture repeated 2024 times, as the folder's name says; "
        "rename the folder if 2024 is not a number of repeats",
        "1 caption without a word: a.png",
        "texts that belong to no picture, not used: b.txt",
        "not read: metadata.csv; captions are read from metadata.jsonl",
        "pictures without a picture's suffix, not used: backup.png~",
    ]


def test_the_manifest_holds_what_the_recipe_makes_of_captions(folder):
    put(folder, "a.png", photo(seed=1))
    put(folder, "a.txt", "zwk, red, blue")
    put(folder, "held/b.png", photo(seed=2))
    put(folder, "held/b.txt", "zwk, green")
    put(folder, "c.png", photo(seed=3))
    put(folder, "c.txt", "a zwk")
    plain, _ = look(folder, heldout="held")
    varied, report = look(folder, heldout="held", caption={"shuffle": True, "keep_tokens": 1})
    assert varied.hash == plain.hash
    assert all(image.texts == (image.caption,) for image in plain.images)
    held, own, one_tag = varied.images
    assert (held.texts, one_tag.variants) == (("zwk, green",), ())
    assert len(own.texts) == 8
    assert set(own.texts) == {"zwk, red, blue", "zwk, blue, red"}
    assert report.warned == [
        "captions with fewer than two tags behind those that are kept (dataset.caption.keep_tokens "
        "= 1): c.png; they stay as written"
    ]
    assert report.said[-1].endswith("beside the pictures; dataset.caption makes 4 texts of them")
    lines, _ = look(folder, heldout="held", caption={"lines": True})
    assert lines.hash == plain.hash, "each file has one line"


@pytest.mark.parametrize(
    ("caption", "told"),
    [
        (
            {"shuffle": True, "separator": ";"},
            "dataset.caption.separator = ; stands in no caption: each is one tag, and never "
            "changes; write tags, or take dataset.caption.shuffle and tag_dropout out",
        ),
        (
            {"tag_dropout": 0.1, "separator": ";"},
            "dataset.caption.separator = ; stands in no caption: each is one tag, and is left out "
            "whole or not at all; write tags, or take dataset.caption.shuffle and tag_dropout out",
        ),
        (
            {"shuffle": True, "keep_tokens_separator": "|||"},
            "dataset.caption.keep_tokens_separator = ||| stands in no caption, so "
            "dataset.caption.keep_tokens counts for all of them",
        ),
        (
            {"tag_dropout": 0.1, "keep_tokens": 3},
            "captions with fewer than one tag behind those that are kept "
            "(dataset.caption.keep_tokens = 3): a.png; they stay as written",
        ),
    ],
)
def test_settings_of_tags_that_do_nothing_are_warned_of(folder, caption, told):
    put(folder, "a.png")
    put(folder, "a.txt", "zwk, red, blue")
    assert look(folder, caption=caption)[1].warned == [told]


def test_a_trigger_in_the_prefix_stands_in_every_caption(folder):
    put(folder, "a.png")
    put(folder, "a.txt", "red, blue")
    manifest, report = look(folder, caption={"prefix": "{trigger},"})
    assert manifest.images[0].texts == ("zwk, red, blue",)
    assert manifest.images[0].caption == "red, blue"
    assert report.warned == []


def test_a_trigger_in_no_caption_and_a_template_without_its_class_word_are_warned_of(folder):
    put(folder, "a.png", photo(seed=1))
    put(folder, "held/b.png", photo(seed=2))
    put(folder, "held/b.txt", "a photo of rex")
    put(folder, "a.txt", "a dog")
    assert look(folder, trigger="rex", heldout="held")[1].warned == [
        "dataset.trigger = rex stands in no caption: the model will not learn that word; write it "
        "into the captions, or set dataset.trigger to the word that they have"
    ]
    put(folder, "a.txt", "Rex, a dog")
    assert look(folder, trigger="rex", class_word="none", heldout="held")[1].warned == []
    (folder / "a.txt").unlink()
    assert look(folder, trigger="rex", class_word="none", heldout="held")[1].warned == [
        'dataset.class_word is none, so the template reads "a photo of rex"; say what kind of '
        "thing it is, such as dog or person"
    ]


def test_duplicates_are_warned_of_and_a_held_out_one_loudest(folder):
    put(folder, "a.png", photo(64, 64, 1))
    put(folder, "b.tif", data_of(photo(64, 64, 1), "TIFF"))
    put(folder, "c.png", photo(48, 48, 1))
    put(folder, "held/d.png", photo(64, 64, 1))
    _, report = look(folder, heldout="held")
    assert report.warned == [
        "TRAINED ON AND HELD OUT, so the held-out figures flatter: a.png = held/d.png",
        "the same picture twice: a.png = b.tif",
        "nearly the same picture twice: a.png ≈ c.png",
    ]


def test_a_picture_to_learn_and_to_keep_is_warned_of_and_folders_repeat_both(folder):
    put(folder, "10_zwk toy/a.png", photo(64, 64, 1))
    put(folder, "reg/2_toy/b.png", photo(64, 64, 1))
    manifest, report = look(folder, regularization="reg")
    assert report.warned == [
        "the subject's and for regularization, which pull against each other: "
        "10_zwk toy/a.png = reg/2_toy/b.png",
    ]
    assert "pictures: 1 to train on, 1 for regularization" in report.said
    assert [(image.role, image.repeats) for image in manifest.images] == [
        ("regularization", 2),
        ("train", 10),
    ]


def test_a_trigger_in_the_words_of_regularization_pictures_is_warned_of(folder):
    put(folder, "1_zwk toy/a.png", photo(64, 64, 1))
    put(folder, "reg/1_Zwk toy/b.png", photo(64, 64, 2))
    put(folder, "reg/1_toy/c.png", photo(64, 64, 3))
    _, report = look(folder, regularization="reg", trigger="zwk")
    assert report.warned == [
        "dataset.trigger = zwk stands in captions of regularization pictures, which are not of "
        "your subject: reg/1_Zwk toy/b.png; take it out of them"
    ]


@pytest.mark.usefixtures("later")
def test_untouched_files_are_not_read_again_and_say_the_same(folder, monkeypatch):
    put(folder, "a.jpg")
    put(folder, "b.png", photo(40, 40, 7))
    cold = look(folder)

    def explode(*_):
        raise AssertionError("read again")

    monkeypatch.setattr(examine, "facts_of", explode)
    warm = look(folder)
    assert warm == cold
    assert any("named .jpg" in line for line in warm[1].said)


@pytest.mark.usefixtures("later")
def test_a_touched_file_is_read_again(folder):
    file = put(folder, "a.png", photo(seed=1))
    before, _ = look(folder)
    stat = file.stat()
    pixels = np.array(photo(seed=1))
    pixels[0, 0, 0] ^= 1
    time.sleep(0.02)
    file.write_bytes(data_of(Image.fromarray(pixels)).ljust(stat.st_size, b"\0"))
    os.utime(file, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    after, _ = look(folder)
    assert after.images[0].sha256 == sha256_file(file) != before.images[0].sha256


@pytest.mark.usefixtures("later")
def test_facts_that_are_not_what_they_should_be_are_looked_up_anew(folder):
    put(folder, "a.png")
    cold, _ = look(folder)
    cache = folder.parent / ".lora" / "cache.json"
    text = cache.read_text()
    assert '"thumbnail"' in text
    cache.write_text(text.replace('"thumbnail"', '"nail"'))
    assert look(folder)[0] == cold
