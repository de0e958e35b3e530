"""What a plan says of the data before anything runs."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from lora_recipes import cli
from lora_recipes.dataset import examine
from lora_recipes.dataset.pin import accept
from lora_recipes.plan import preflight as checking
from lora_recipes.plan.preflight import Preflight
from lora_recipes.recipe.sections.dataset import Dataset
from lora_recipes.recipe.sections.prepare import Prepare
from tests.dataset.pictures import data_of, photo, project, put

TOY = {"trigger": "zwk", "class_word": "toy"}


@pytest.fixture(autouse=True)
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DVC_ROOT", raising=False)
    project(tmp_path, TOY)
    put(tmp_path / "data/my", "a.png", photo(100, 100, 1))
    put(tmp_path / "data/my", "3_zwk toy/b.png", photo(100, 100, 2))
    return tmp_path


def ask(root: Path, resolution: int = 64, **dataset: Any) -> Preflight:
    return checking.preflight(root, Dataset(**(TOY | dataset)), Prepare(resolution=resolution))


def test_the_sizes_of_the_pictures_to_train_on_are_known_in_the_order_of_their_repeats(root):
    put(root / "data/my", "c.png", photo(100, 140, 3))
    put(root / "data/my", "held/d.png", photo(100, 100, 4))
    found = ask(root, heldout="held")
    assert found.sizes["c.png"] == (100, 140)
    assert found.repeats == [3 if path.startswith("3_") else 1 for path in found.sizes]
    assert sorted(found.sizes) == ["3_zwk toy/b.png", "a.png", "c.png"]
    put(root / "data/my", "e.png", b"no picture")
    assert ask(root, heldout="held").sizes == {}, "not all are known"


def test_the_sizes_and_repeats_of_regularization_pictures_are_known_too(root):
    put(root / "data/my", "reg/c.png", photo(100, 140, 3))
    put(root / "data/my", "reg/2_dog/d.png", photo(110, 100, 4))
    found = ask(root, regularization="reg")
    assert dict(zip(found.kept.sizes.items(), found.kept.repeats, strict=True)) == {
        ("reg/2_dog/d.png", (110, 100)): 2,
        ("reg/c.png", (100, 140)): 1,
    }
    assert sorted(found.sizes) == ["3_zwk toy/b.png", "a.png"]
    put(root / "data/my", "reg/e.png", b"no picture")
    assert ask(root, regularization="reg").kept.sizes == {}, "not all are known"


def told(found: Preflight) -> str:
    return "\n".join(map(str, found.problems))


def test_pictures_are_counted_with_and_without_their_folders_repeats(root):
    found = ask(root)
    assert found.repeats is not None
    assert (sorted(found.repeats), found.problems) == ([1, 3], [])
    assert len(found.warnings) == 1
    assert found.warnings[0].startswith("data/my: unpinned data, sha256:")


@pytest.mark.parametrize("moment", [0, 10**9])
def test_the_texts_to_encode_are_counted_whether_pictures_are_read_or_not(
    root, monkeypatch, moment
):
    monkeypatch.setattr(checking, "A_MOMENT", moment)
    assert ask(root).texts == 3  # "a photo of zwk toy", "zwk toy", ""
    put(root / "data/my", "a.txt", "a, b")
    assert ask(root, caption={"shuffle": True}).texts == 4
    put(root / "data/my", "b.txt", b"\xff")
    put(root / "data/my", "b.png", photo(100, 100, 3))
    assert ask(root).texts is None


def test_data_that_differ_from_the_pin_and_small_pictures_are_both_told(root):
    pin = accept(root, Dataset(**TOY)).hash
    assert ask(root, manifest=pin).problems == []
    put(root / "data/my", "c.png", photo(60, 60, 3))
    found = ask(root, manifest=pin)
    assert "data/my: the data are sha256:" in told(found)
    assert "\n  added:    c.png\n" in told(found)
    assert told(found).splitlines()[-2:] == [
        "pictures smaller than prepare.resolution, 64×64: c.png (60×60)",
        "  fix:     take larger originals, lower prepare.resolution, or set prepare.upscale: true",
    ]
    assert found.repeats is not None
    assert sorted(found.repeats) == [1, 1, 3]


def test_damaged_pictures_and_an_empty_folder_are_told(root):
    put(root / "data/my", "a.png", b"")
    assert told(ask(root)).startswith("data/my/a.png: is empty (0 bytes)")
    for file in [*root.glob("data/my/*.png"), *root.glob("data/my/*/*.png")]:
        file.unlink()
    found = ask(root)
    assert found.repeats == []
    assert told(found).startswith("data/my: there are no pictures to train on\n")


def test_damaged_and_small_pictures_are_told_in_one_go(root):
    put(root / "data/my", "a.png", b"")
    put(root / "data/my", "c.png", photo(60, 60, 3))
    assert [problem.what for problem in ask(root).problems] == [
        "is empty (0 bytes)",
        "pictures smaller than prepare.resolution, 64×64: c.png (60×60)",
    ]


def test_pin_warns_of_pictures_that_will_be_refused(root, capsys):
    put(root / "recipes", "any.yaml", "schema: 1\nname: any\nversion: 1\ndescription: a test\n")
    overrides = "dataset:\n  trigger: zwk\n  class_word: toy\nprepare: {resolution: 104}\n"
    put(root, "params.yaml", f"recipe: any\ndata: data/my\n{overrides}")
    assert cli.main(["pin"]) == 0
    out, err = capsys.readouterr()
    pin = accept(root, Dataset(**TOY)).hash
    assert out.endswith(
        f"params.yaml: dataset.manifest = {pin}\n"
        "2 images accepted; next: `python -m lora_recipes plan`, `dvc repro`, and for the commit "
        f"`git add data/my params.yaml recipes/pins/{pin[7:23]}.json`\n"
    )
    assert err.endswith(
        "warning: `dvc repro` would stop at this: pictures smaller than prepare.resolution, "
        "104×104: 3_zwk toy/b.png (100×100), a.png (100×100)\n"
        "  fix:     take larger originals, lower prepare.resolution, or set prepare.upscale: true\n"
    )
    put(root, "params.yaml", f"recipe: any\ndata: data/my\n{overrides.replace('104', '96')}")
    assert cli.main(["pin"]) == 0
    assert "would stop" not in capsys.readouterr().err
    put(root / "data/my", "c.png", photo(60, 60, 3))
    put(root / "data/my", "d.png", b"")
    assert cli.main(["pin"]) == 1
    err = capsys.readouterr().err
    assert "data/my/d.png: is empty (0 bytes)\n" in err
    assert "pictures smaller than prepare.resolution, 96×96: c.png (60×60)\n" in err


HEIC = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic"
NOT_READ = (
    "data/my: 2 pictures hold HEIC, which is not read: IMG 1.HEIC, b.hif\n"
    "  fix:     convert them to JPEG or PNG, for example "
    "`magick 'data/my/IMG 1.HEIC' 'data/my/IMG 1.jpg'`, and take them out of the data folder"
)


@pytest.mark.parametrize("moment", [0, 10**6])
def test_pictures_in_formats_that_are_not_read_are_one_message(root, monkeypatch, moment):
    monkeypatch.setattr(checking, "A_MOMENT", moment)
    put(root / "data/my", "IMG 1.HEIC", HEIC)
    put(root / "data/my", "b.hif", HEIC)
    put(root / "data/my", "c.heic", data_of(photo(100, 100, 4), "JPEG"))
    assert told(ask(root)) == NOT_READ


def test_one_picture_in_a_format_that_is_not_read_is_named(root):
    put(root / "data/my", "sub/b.heif", HEIC)
    assert told(ask(root)) == (
        "data/my/sub/b.heif: holds HEIC, which is not read\n"
        "  fix:     convert it to JPEG or PNG, for example "
        "`magick data/my/sub/b.heif data/my/sub/b.jpg`, and take it out of the data folder"
    )
    put(root / "data/my", "sub/b.jpg", data_of(photo(100, 100, 4), "JPEG"))
    assert told(ask(root)) == (
        "data/my/sub/b.heif: holds HEIC, which is not read\n"
        "  fix:     convert it to JPEG or PNG and take it out of the data folder"
    )


def test_without_the_folder_nothing_is_known(root):
    (root / "data").rename(root / "away")
    found = ask(root)
    assert found.repeats is None


GLANCE = (
    "{} new: only their names, headers and captions were looked at. Not looked at: damage behind "
    "the header, pictures that are there twice, and whether the data are as pinned; `python -m "
    "lora_recipes pin` does"
)


def test_of_many_new_pictures_headers_and_captions_tell_all_that_they_can(root, monkeypatch):
    monkeypatch.setattr(checking, "A_MOMENT", 0)
    monkeypatch.setattr(examine, "facts_of", None)
    folder = root / "data/my"
    for number in range(8):
        put(folder, f"{number}.jpg", data_of(photo(100, 100, number), "JPEG"))
        put(folder, f"{number}.txt", "a photo of a dog")
    for name in ("a.txt", "3_zwk toy/b.txt", "wide.txt", "tiny.txt", "IMG 1.txt"):
        put(folder, name, "a dog")
    exif = Image.Exif()
    exif[0x0112] = 6
    put(folder, "wide.jpg", data_of(photo(70, 110, 20), "JPEG", exif=exif))  # upright 110×70
    put(folder, "tiny.png", photo(60, 60, 21))
    put(folder, "IMG 1.HEIC", HEIC)
    put(folder, "cut.png", data_of(photo(100, 100, 22))[:20])
    put(folder, "cut.txt", "a dog")
    put(folder, "spare.txt", "a dog")
    found = checking.preflight(root, Dataset(**TOY), Prepare(resolution=64, crop="none"))
    assert found.warnings == [
        "dataset.trigger = zwk stands in no caption: the model will not learn that word; write it "
        "into the captions, or set dataset.trigger to the word that they have",
        "texts that belong to no picture, not used: spare.txt",
        GLANCE.format("14 pictures"),
    ]
    assert told(found) == (
        "data/my/IMG 1.HEIC: holds HEIC, which is not read\n"
        "  fix:     convert it to JPEG or PNG, for example "
        "`magick 'data/my/IMG 1.HEIC' 'data/my/IMG 1.jpg'`, and take it out of the data folder\n"
        "data/my/cut.png: is a damaged PNG (Truncated File Read)\n"
        "  fix:     copy it again from where it came, or delete it\n"
        "pictures smaller than prepare.resolution, 64×64: tiny.png (60×60)\n"
        "  fix:     take larger originals, lower prepare.resolution, or set prepare.upscale: true\n"
        "pictures that are not 1:1, the shape of prepare.resolution (64×64): wide.jpg (110×70)\n"
        "  fix:     set prepare.buckets: true, which keeps their shapes, or prepare.crop: center "
        "(or random), or crop them yourself"
    )
    assert (len(found.repeats or []), found.sure) == (14, False)


@pytest.mark.usefixtures("later")
def test_many_new_pictures_are_not_decoded_for_a_plan(root, monkeypatch):
    monkeypatch.setattr(checking, "A_MOMENT", 15_000)
    facts_of = examine.facts_of
    monkeypatch.setattr(examine, "facts_of", None)
    found = ask(root)
    assert found.warnings == [GLANCE.format("2 pictures")]
    assert not found.sure
    assert found.repeats is not None
    assert (sorted(found.repeats), found.problems) == ([1, 3], [])
    monkeypatch.setattr(examine, "facts_of", facts_of)
    accept(root, Dataset(**TOY))
    assert ask(root).warnings[0].startswith("data/my: unpinned data"), "they are known now"


def test_a_plan_stops_at_sub_folders_that_nobody_declared_and_never_waits_for_a_pipe(root):
    put(root / "data/my", "others/d.png", photo(100, 100, 4))
    assert told(ask(root)) == (
        "data/my/others: 1 picture would be trained on\n"
        "  fix:     set dataset.control: others, or rename the folder"
    )
    os.mkfifo(root / "data/my/x.png")
    assert told(ask(root)).startswith("data/my/x.png: is a named pipe, not a file\n")


def test_masks_are_told_with_what_they_let_count_and_what_is_wrong_with_them(root):
    folder = root / "data/my"
    mask = Image.new("L", (100, 100))
    mask.paste(255, (0, 0, 100, 40))
    put(folder, "masks/a.png", mask)
    found = ask(root, masks="masks")
    assert found.masks == "1 of 2 pictures to train on; 40% of their area counts"
    assert sorted(found.repeats or []) == [1, 3]
    assert "1 picture without a mask, learned whole: 3_zwk toy/b.png" in found.warnings
    assert ask(root, masks="alpha").masks == ask(root).masks == ""
    put(folder, "masks/a.png", mask.resize((100, 50)))
    assert "data/my/masks/a.png: is 100×50, but its picture a.png 100×100" in told(
        ask(root, masks="masks")
    )


def test_a_plan_says_that_looks_are_mirrored_and_what_masks_let_count(root, capsys, monkeypatch):
    monkeypatch.setattr("lora_recipes.provenance.pipeline.stage_plans", lambda *_: [])
    monkeypatch.setattr("lora_recipes.provenance.pipeline.table", lambda _: [])
    put(root / "recipes", "any.yaml", "schema: 1\nname: any\nversion: 1\ndescription: a test\n")
    put(root / "data/my", "masks/a.png", Image.new("L", (100, 100), 51))
    words = "trigger: zwk, class_word: toy, masks: masks"
    for flip in ("true", "false"):
        dataset = f"dataset: {{{words}, flip: {flip}}}\nprepare: {{resolution: 64}}\n"
        base = "base: {model: pocket, revision: none}\n"
        put(root, "params.yaml", f"recipe: any\ndata: data/my\n{base}{dataset}")
        cli.main(["plan"])
        rows = [line.split(maxsplit=1) for line in capsys.readouterr().out.splitlines()]
        assert ["masks", "1 of 2 pictures to train on; 20% of their area counts"] in rows
        mirrored = [row[1] for row in rows if row[0] == "mirrored"]
        assert mirrored == ([checking.MIRRORED] if flip == "true" else [])
