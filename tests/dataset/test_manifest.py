"""The manifest: what its hash covers, and that it comes back as it was written."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from lora_recipes.dataset.manifest import Image, content_hash, hashed_fields, make, read, write
from lora_recipes.errors import UserError
from lora_recipes.hashing import digest

A = Image("a.png", "train", "sha256:" + "a" * 64, 10, 20, "PNG", "a toy", "file")
B = replace(A, path="b.png", sha256="sha256:" + "b" * 64, repeats=3)
HELD = replace(A, path="held/a.png", role="heldout")


def test_a_manifest_comes_back_as_it_was_written(tmp_path: Path):
    manifest = make([A, B, HELD])
    write(tmp_path / "build" / "manifest.json", manifest)
    assert read(tmp_path / "build" / "manifest.json") == manifest


def test_a_manifest_is_sorted_by_role_and_path_whatever_the_order_given():
    assert make([A, B, HELD]) == make([HELD, B, A])
    assert [image.path for image in make([A, B, HELD]).images] == ["held/a.png", "a.png", "b.png"]


@pytest.mark.parametrize(
    "change",
    [
        {"path": "c.png"},
        {"role": "control"},
        {"sha256": "sha256:" + "c" * 64},
        {"caption": "a toy "},
        {"repeats": 2},
        {"captions": ("a toy", "another")},
    ],
    ids=lambda change: next(iter(change)),
)
def test_the_hash_covers_what_training_can_see(change):
    assert make([replace(A, **change), B]).hash != make([A, B]).hash


def test_the_hash_leaves_out_where_a_caption_came_from():
    assert make([replace(A, caption_from="template")]).hash == make([A]).hash


def test_one_caption_is_hashed_and_written_as_before_there_were_several(tmp_path: Path):
    assert list(hashed_fields(A)) == ["role", "path", "sha256", "caption", "repeats"]
    several = replace(A, captions=("a toy", "another"), variants=("a toy", "toy a"))
    assert hashed_fields(several)["captions"] == ["a toy", "another"]
    write(tmp_path / "manifest.json", make([B]))
    assert not {"captions", "variants"} & set((tmp_path / "manifest.json").read_text().split('"'))
    write(tmp_path / "manifest.json", make([several, B]))
    assert read(tmp_path / "manifest.json") == make([several, B])


def test_the_hash_leaves_out_what_the_recipe_makes_of_captions():
    assert make([replace(A, variants=("a toy", "toy a"))]).hash == make([A]).hash


def test_pictures_of_a_role_keep_their_order():
    assert make([HELD, B, A]).images == (HELD, A, B)


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (None, "is missing"),
        ("{", "is not JSON: it is damaged, or cut off"),
        ('{"images": [{}]}', "is not what the stage writes: "),
        ('{"schema": 1, "hash": "sha256:0", "images": []}', "was changed by hand"),
    ],
)
def test_a_missing_or_damaged_manifest_is_an_error(tmp_path: Path, content, what):
    path = tmp_path / "build" / "manifest.json"
    path.parent.mkdir()
    if content is not None:
        path.write_text(content)
    with pytest.raises(UserError) as caught:
        read(path)
    text = str(caught.value)
    assert text.startswith(f"build/manifest.json: {what}")
    assert text.endswith("\n  fix:     run `dvc repro`, which writes it")


def test_pins_of_when_control_pictures_were_called_others_hold():
    control = replace(HELD, role="control", path="control/a.png")
    first, *_ = fields = [hashed_fields(image) for image in make([A, control]).images]

    assert first["role"] == "others"
    assert content_hash(fields) == digest({"schema": 1, "images": fields})
    assert make([A, control, HELD]).images == (HELD, control, A)
