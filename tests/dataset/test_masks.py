"""Which part of each picture is learned: found, held against its picture, and prepared with it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from lora_recipes.dataset.build import build, glance
from lora_recipes.dataset.find import find
from lora_recipes.dataset.manifest import Manifest, read, read_pictures, write, write_pictures
from lora_recipes.dataset.masks import same_shape
from lora_recipes.dataset.pin import differences
from lora_recipes.dataset.prepare import prepare
from lora_recipes.errors import UserError
from lora_recipes.hashing import sha256_file
from lora_recipes.plan.count import repeats_by_name
from lora_recipes.recipe.sections.dataset import Dataset
from lora_recipes.recipe.sections.prepare import Prepare
from lora_recipes.reporting import Quiet
from tests.dataset.pictures import data_of, files_under, photo, put

TOY = {"trigger": "zwk", "class_word": "toy"}
MASKED = {"masks": "masks"}


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path / "data"


def spot(size: tuple[int, int], box: tuple[int, int, int, int], mode: str = "L") -> Image.Image:
    """A mask: white within a box, black around it."""
    mask = Image.new(mode, size)
    mask.paste("white", box)
    return mask


def cut_out(seed: int = 1, size: tuple[int, int] = (64, 64), alpha: Image.Image | int = 0) -> Any:
    picture = photo(*size, seed)
    picture.putalpha(alpha)
    return picture


def look(folder: Path, **dataset: Any) -> tuple[Manifest, Quiet]:
    report = Quiet()
    section = Dataset(**(TOY | dataset))
    return build(folder, section, folder.parent / ".lora" / "cache.json", report), report


def error(folder: Path, **dataset: Any) -> str:
    with pytest.raises(UserError) as caught:
        look(folder, **dataset)
    return str(caught.value)


def prepared(folder: Path, manifest: Manifest, **settings: Any) -> dict[str, dict[str, Any]]:
    out = folder.parent / "build" / "images"
    prepare(folder, manifest.listed(), Prepare(**settings), out, Quiet())
    index = json.loads((out / "index.json").read_text())
    return {image["path"]: image for image in index["images"]}


def pixels(folder: Path, name: str) -> np.ndarray:
    with Image.open(folder.parent / "build" / "images" / name) as image:
        return np.asarray(image)


def test_masks_are_neither_pictures_nor_others_and_are_not_counted(folder):
    for name in ("a.png", "sub/b.jpg", "masks/a.png", "masks/sub/b.webp"):
        put(folder, name)
    found = find(folder, Dataset(**MASKED))
    assert [entry.path for entry in found.images] == ["a.png", "sub/b.jpg"]
    assert [entry.path for entry in found.masks] == ["masks/a.png", "masks/sub/b.webp"]
    assert found.others == []
    assert repeats_by_name(folder, Dataset(**MASKED)) == {"a.png": 1, "sub/b.jpg": 1}


def test_the_manifest_has_a_masks_file_and_its_hash_only_where_there_is_one(folder, tmp_path):
    put(folder, "a.jpg", data_of(photo(64, 64, 1), "JPEG"))
    put(folder, "b.png", photo(64, 64, 2))
    old, _ = look(folder)
    file = put(folder, "masks/a.png", spot((64, 64), (0, 0, 64, 16)))
    manifest, report = look(folder, **MASKED)
    first, second = manifest.images
    assert (first.mask, first.mask_sha256) == ("masks/a.png", sha256_file(file))
    assert (first.mask_share, second.mask, second.mask_share) == (0.25, "", 1.0)
    assert manifest.hash != old.hash
    assert "masks: 1 of 2 pictures to train on; 25% of their area counts" in report.said
    assert report.warned == ["1 picture without a mask, learned whole: b.png"]
    write(tmp_path / "manifest.json", manifest)
    write_pictures(tmp_path / "pictures.json", manifest)
    assert read(tmp_path / "manifest.json") == manifest
    assert read_pictures(tmp_path / "pictures.json") == manifest.listed()
    with_mask, without = json.loads((tmp_path / "pictures.json").read_text())["pictures"]
    assert set(with_mask) - set(without) == {"mask", "mask_sha256"}


def test_alpha_changes_no_pin_and_is_said(folder):
    put(folder, "a.png", cut_out(alpha=spot((64, 64), (0, 0, 32, 64))))
    put(folder, "b.jpg", data_of(photo(64, 64, 2), "JPEG"))
    old, _ = look(folder)
    manifest, report = look(folder, masks="alpha")
    assert manifest.hash == old.hash
    assert [(image.mask, image.mask_share) for image in manifest.images] == [
        ("alpha", 0.5),
        ("", 1.0),
    ]
    assert report.warned == ["1 picture without a mask, learned whole: b.jpg"]
    assert (
        "masks: 1 of 2 pictures to train on; 50% of their area counts; what is transparent is seen "
        "all the same, as prepare.background"
    ) in report.said


def test_a_changed_added_or_removed_mask_is_named_by_the_pin(folder):
    put(folder, "a.png")
    put(folder, "b.png")
    entry = {"role": "train", "sha256": "x", "caption": "", "repeats": 1}
    bare = [entry | {"path": name, "sha256": name} for name in ("a.png", "b.png", "c.png")]
    one, two = {"mask_sha256": "1"}, {"mask_sha256": "2"}
    old, new = [bare[0] | one, bare[1] | one, bare[2]], [bare[0] | two, bare[1], bare[2] | one]
    assert differences(old, new) == [
        "mask:     a.png: changed",
        "mask:     b.png: removed",
        "mask:     c.png: added",
    ]


def test_everything_that_is_wrong_with_masks_is_named_at_once(folder):
    for name in ("big", "side", "black", "twice", "two"):
        put(folder, f"{name}.png", photo(64, 48, len(name)))
    put(folder, "two.jpg", data_of(photo(64, 48, 9), "JPEG"))
    put(folder, "masks/big.png", spot((64, 50), (0, 0, 9, 9)))
    put(folder, "masks/side.png", spot((48, 64), (0, 0, 9, 9)))
    put(folder, "masks/black.png", spot((64, 48), (0, 0, 0, 0)))
    put(folder, "masks/twice.png", spot((64, 48), (0, 0, 9, 9)))
    put(folder, "masks/twice.bmp", data_of(spot((64, 48), (0, 0, 8, 8)), "BMP"))
    put(folder, "masks/two.png", spot((64, 48), (0, 0, 9, 9)))
    put(folder, "masks/bigg.png", spot((64, 48), (0, 0, 9, 9)))
    put(folder, "masks/broken.png", b"")
    assert error(folder, **MASKED).split("\n") == [
        "data/masks: 2 masks belong to no picture: masks/bigg.png, masks/broken.png",
        "  fix:     give each the path and name of its picture, whose suffix may be another, such "
        "as masks/cat.png for cat.jpg, or move it out of the data folder",
        "data/masks/big.png: is 64×50, but its picture big.png 64×48",
        "  allowed: 64×48, or the same shape (4:3) in another size",
        "  fix:     save it at 64×48",
        "data/masks/black.png: is black everywhere, so nothing of the picture would be learned",
        "  allowed: white or opaque where the picture is to be learned, at least in a part",
        "  fix:     draw it again (white is learned, black is not), or move the picture away",
        "data/masks/broken.png: is empty (0 bytes)",
        "  fix:     copy it again from where it came, or delete it",
        "data/masks/side.png: is 48×64, but its picture side.png 64×48",
        "  allowed: 64×48, or the same shape (4:3) in another size",
        "  fix:     turn it as the picture stands upright",
        "data/masks/two.png: could belong to two.jpg or two.png",
        "  fix:     rename one of the pictures, and give each a mask of its own",
        "data/twice.png: has two masks: masks/twice.bmp and masks/twice.png",
        "  fix:     keep one of them",
    ]


def test_a_glance_names_what_names_and_headers_tell(folder):
    put(folder, "a.png", photo(64, 48))
    put(folder, "masks/a.png", spot((64, 64), (0, 0, 9, 9)))
    put(folder, "masks/b.png", spot((64, 64), (0, 0, 9, 9)))
    sizes, problems, _ = glance(folder, Dataset(**(TOY | MASKED)), Quiet())
    assert sizes == {"a.png": (64, 48)}
    assert [problem.what.partition(":")[0] for problem in problems] == [
        "1 mask belongs to no picture",
        "is 64×64, but its picture a.png 64×48",
    ]


def test_alpha_where_nothing_is_transparent_or_everything_is_is_refused(folder):
    put(folder, "a.png", cut_out(alpha=255))
    assert error(folder, masks="alpha") == (
        "data: dataset.masks = alpha, but no picture to train on is transparent anywhere\n"
        "  fix:     cut out what is not to be learned and save as PNG or WebP, or name a "
        "sub-folder of masks, or set dataset.masks to none"
    )
    put(folder, "b.png", cut_out(2, alpha=0))
    assert error(folder, masks="alpha").startswith("data/b.png: is transparent everywhere, so ")


def test_a_folder_of_masks_that_nobody_declared_is_not_trained_on(folder):
    put(folder, "a.png")
    put(folder, "masks/a.png")
    assert error(folder) == (
        "data/masks: 1 picture would be trained on\n"
        "  fix:     set dataset.masks: masks, or rename the folder"
    )
    assert error(folder, masks="cut").startswith("data/cut: dataset.masks = cut: there is no such")
    assert error(folder, masks="masks", heldout="masks").startswith(
        "dataset.heldout and dataset.masks are both masks\n"
    )


def test_masks_beside_their_pictures_are_not_trained_on(folder):
    for name in ("a.jpg", "a-masklabel.png", "sub/b-masklabel.png"):
        put(folder, name)
    assert error(folder) == (
        "data: 2 pictures would be trained on, whose names mean masks: a-masklabel.png, "
        "sub/b-masklabel.png\n"
        "  fix:     move each into data/masks under its picture's name, such as masks/a.png, and "
        "set dataset.masks: masks"
    )


def test_masks_of_pictures_that_are_never_trained_on_are_not_used(folder):
    put(folder, "a.png", photo(64, 64, 1))
    put(folder, "held/b.png", cut_out(2, alpha=9))
    put(folder, "masks/a.png", spot((64, 64), (0, 0, 9, 9)))
    put(folder, "masks/held/b.png", spot((64, 64), (0, 0, 9, 9)))
    put(folder, "reg/c.png", photo(64, 64, 3))
    put(folder, "masks/reg/c.png", spot((64, 64), (0, 0, 9, 9)))
    words = {"heldout": "held", "regularization": "reg", "class_word": "toy"}
    manifest, report = look(folder, masks="masks", flip=True, **words)
    assert {image.path: (image.mask, image.flip) for image in manifest.images} == {
        "a.png": ("masks/a.png", True),
        "held/b.png": ("", False),
        "reg/c.png": ("", False),
    }
    assert [line for line in report.said if "not used" in line] == [
        "masks of held-out and control pictures are not used, which are measured whole: "
        "masks/held/b.png",
        "masks of regularization pictures are not used, which are learned whole: masks/reg/c.png",
    ]


def test_a_file_is_looked_at_again_when_it_becomes_a_mask(folder, later):
    put(folder, "a.png", photo(64, 64, 1))
    put(folder, "more/a.png", spot((64, 64), (0, 0, 32, 64), "RGB"))
    look(folder)
    manifest, _ = look(folder, masks="more")
    assert manifest.images[0].mask_share == 0.5
    assert len(look(folder)[0].images) == 2


@pytest.mark.parametrize(
    ("mask", "picture", "fits"),
    [
        ((64, 48), (64, 48), True),
        ((1024, 768), (4032, 3024), True),
        ((1000, 667), (3000, 2000), True),
        ((1000, 666), (3000, 2000), True),
        ((1000, 665), (3000, 2000), False),
        ((6000, 4001), (3000, 2000), True),
        ((6000, 4003), (3000, 2000), False),
        ((48, 64), (64, 48), False),
        ((512, 512), (640, 480), False),
    ],
)
def test_a_mask_has_its_pictures_shape_to_a_pixel_of_the_smaller(mask, picture, fits):
    assert same_shape(mask, picture) == same_shape(picture, mask) == fits


@pytest.mark.parametrize("scale", [1, 2])
@pytest.mark.parametrize("settings", [{"crop": "center"}, {"crop": "random", "seed": 3}])
def test_crop_and_mask_move_together(folder, settings, scale):
    """The picture is red exactly where its mask is white, turned by EXIF, scaled and cropped."""
    red = spot((600, 200), (200, 40, 400, 120))
    picture = Image.new("RGB", red.size, "blue")
    picture.paste("red", mask=red)
    exif = Image.Exif()
    exif[0x0112] = 6
    put(folder, "a.png", data_of(picture, exif=exif))
    upright = red.transpose(Image.Transpose.ROTATE_270)
    put(folder, "masks/a.png", upright.resize((200 // scale, 600 // scale)))
    entry = prepared(folder, look(folder, **MASKED)[0], resolution=[96, 128], **settings)["a.png"]
    assert entry["mask"] == "a.png.mask.png"
    mask = pixels(folder, entry["mask"]).astype(int)
    assert mask.shape == (128, 96)
    shown = pixels(folder, entry["file"])[:, :, 0].astype(int)
    assert 0.05 < (mask == 255).mean() < 0.9
    assert np.abs(shown - mask).mean() < 6
    assert (np.abs(shown - mask) > 100).mean() < 0.01 * scale


def test_alpha_is_prepared_with_its_picture_and_lies_on_the_background(folder):
    put(folder, "a.png", cut_out(alpha=spot((64, 64), (0, 0, 64, 32))))
    manifest, _ = look(folder, masks="alpha")
    entry = prepared(folder, manifest, resolution=64, background="gray")["a.png"]
    mask = pixels(folder, entry["mask"])
    assert (mask[:32] == 255).all()
    assert (mask[32:] == 0).all()
    assert (pixels(folder, entry["file"])[32:] == 128).all()
    assert set(entry) == {
        "path", "file", "pixels", "original_size", "crop", "size", "mask", "mask_pixels",
    }  # fmt: skip


def test_a_mask_that_is_white_everywhere_is_no_mask_to_the_byte(folder):
    put(folder, "a.png", photo(64, 64))
    put(folder, "masks/a.png", spot((64, 64), (0, 0, 64, 64)))
    out = folder.parent / "build" / "images"

    def content(manifest: Manifest) -> dict[str, bytes]:
        prepared(folder, manifest, resolution=64)
        return {name: (out / name).read_bytes() for name in files_under(out)}

    masked = content(look(folder, **MASKED)[0])
    for file in (folder / "masks").iterdir():
        file.unlink()
    (folder / "masks").rmdir()
    assert masked == content(look(folder)[0])
    assert sorted(masked) == ["a.png.png", "index.json"]


def test_a_crop_that_leaves_nothing_of_a_mask_is_named_and_nothing_stays(folder):
    for name in ("a", "b"):
        put(folder, f"{name}.png", photo(200, 64, ord(name)))
        put(folder, f"masks/{name}.png", spot((200, 64), (0, 0, 30, 64)))
    put(folder, "c.png", photo(64, 64, 3))
    manifest, _ = look(folder, **MASKED)
    with pytest.raises(UserError) as caught:
        prepared(folder, manifest, resolution=64, crop="center")
    assert str(caught.value).split("\n") == [
        line
        for name in ("a", "b")
        for line in (
            f"data/{name}.png: its crop leaves nothing of what its mask shows, so nothing of it "
            "would be learned",
            "  fix:     crop it yourself around that, or set another prepare.crop",
        )
    ]
    assert not (folder.parent / "build" / "images").exists()


def test_a_mask_that_changed_or_went_since_the_manifest_is_named(folder):
    put(folder, "a.png", photo(64, 64))
    file = put(folder, "masks/a.png", spot((64, 64), (0, 0, 30, 64)))
    manifest, _ = look(folder, **MASKED)
    put(folder, "masks/a.png", spot((64, 64), (0, 0, 31, 64)))
    with pytest.raises(UserError, match=r"data/masks/a.png: changed since the dataset stage"):
        prepared(folder, manifest, resolution=64)
    file.unlink()
    with pytest.raises(UserError, match=r"data: gone since the dataset stage looked: masks/a.png"):
        prepared(folder, manifest, resolution=64)


def test_a_masks_own_transparency_is_black_and_colours_are_grey(folder):
    put(folder, "a.png", photo(64, 64))
    mask = Image.new("RGBA", (64, 64), (255, 255, 255, 0))
    mask.paste((255, 255, 255, 255), (0, 0, 64, 16))
    put(folder, "masks/a.png", mask)
    assert look(folder, **MASKED)[0].images[0].mask_share == 0.25
