"""From pictures to training pixels."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from benchmarks import prepare_photos
from lora_recipes.dataset.build import build
from lora_recipes.dataset.decode import pixel_hash
from lora_recipes.dataset.manifest import Manifest, write
from lora_recipes.dataset.png import png
from lora_recipes.dataset.prepare import prepare
from lora_recipes.errors import UserError
from lora_recipes.recipe.sections.dataset import Dataset
from lora_recipes.recipe.sections.prepare import Prepare
from lora_recipes.reporting import Quiet
from tests.dataset.pictures import data_of, files_under, photo, put

REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path / "data"


def manifest_of(folder: Path) -> Manifest:
    section = Dataset(trigger="zwk", class_word="toy")
    return build(folder, section, folder.parent / ".lora" / "cache.json", Quiet())


def run(folder: Path, **settings: Any) -> dict[str, dict[str, Any]]:
    """Prepare; the index by path."""
    out = folder.parent / "build" / "images"
    prepare(folder, manifest_of(folder).listed(), Prepare(**settings), out, Quiet())
    return {
        image["path"]: image for image in json.loads((out / "index.json").read_text())["images"]
    }


def error(folder: Path, **settings: Any) -> str:
    with pytest.raises(UserError) as caught:
        run(folder, **settings)
    return str(caught.value)


def pixels(folder: Path, entry: dict[str, Any]) -> np.ndarray:
    with Image.open(folder.parent / "build" / "images" / entry["file"]) as image:
        assert (image.format, image.mode, list(image.size)) == ("PNG", "RGB", entry["size"])
        assert pixel_hash(image) == entry["pixels"]
        return np.asarray(image)


def test_a_1000_by_1500_picture_to_832_by_1216_keeps_its_middle_1216_rows(folder):
    put(folder, "sub/a.png", photo(1000, 1500))
    entry = run(folder, resolution=[832, 1216], crop="center")["sub/a.png"]
    scaled = photo(1000, 1500).resize((832, 1248), Image.Resampling.LANCZOS)
    assert np.array_equal(pixels(folder, entry), np.asarray(scaled)[16:1232])
    assert entry == {
        "path": "sub/a.png",
        "file": "sub/a.png.png",
        "pixels": entry["pixels"],
        "original_size": [1000, 1500],
        "crop": [16, 0],
        "size": [832, 1216],
    }


@pytest.mark.parametrize("length", [233, 234, 238, 251])
@pytest.mark.parametrize("letter", ["a", "龍"])
def test_names_of_any_length_are_prepared(folder, letter, length):
    name = letter * (length // len(letter.encode()))
    put(folder, f"sub/{name}.png", photo(64, 64))
    put(folder, f"sub/{name[1:]}b.png", photo(64, 64, 1))
    index = run(folder, resolution=64)
    assert set(index) == {f"sub/{name}.png", f"sub/{name[1:]}b.png"}
    for entry in index.values():
        pixels(folder, entry)
        assert entry["file"].startswith("sub/")
    usual = len(f"{name}.png.png".encode()) <= 241
    assert (index[f"sub/{name}.png"]["file"] == f"sub/{name}.png.png") == usual


def test_a_random_crop_is_where_the_index_says(folder):
    put(folder, "a.png", photo(300, 100))
    entry = run(folder, resolution=64, crop="random")["a.png"]
    top, left = entry["crop"]
    assert top == 0
    assert 0 < left < 128
    scaled = np.asarray(photo(300, 100).resize((192, 64), Image.Resampling.LANCZOS))
    assert np.array_equal(pixels(folder, entry), scaled[:, left : left + 64])


def test_another_seed_crops_elsewhere_and_the_same_seed_does_not(folder):
    put(folder, "a.png", photo(900, 100))
    lefts = [run(folder, resolution=64, crop="random", seed=s)["a.png"]["crop"] for s in (0, 0, 1)]
    assert lefts[0] == lefts[1] != lefts[2]


def test_a_picture_of_the_right_size_keeps_every_pixel(folder):
    put(folder, "a.png", photo(64, 64))
    assert np.array_equal(pixels(folder, run(folder, resolution=64)["a.png"]), photo(64, 64))


def test_the_original_size_is_upright(folder):
    exif = Image.Exif()
    exif[0x0112] = 6
    put(folder, "a.png", data_of(photo(200, 100), exif=exif))
    entry = run(folder, resolution=[64, 128])["a.png"]
    assert entry["original_size"] == [100, 200]
    upright = photo(200, 100).transpose(Image.Transpose.ROTATE_270)
    expected = upright.resize((64, 128), Image.Resampling.LANCZOS)
    assert np.array_equal(pixels(folder, entry), expected)


def test_transparency_is_laid_on_the_recipes_background(folder):
    clear = photo(64, 64)
    clear.putalpha(0)
    put(folder, "a.png", clear)
    entry = run(folder, resolution=64, background="gray")["a.png"]
    assert (pixels(folder, entry) == 128).all()


def test_two_runs_write_the_same_bytes_and_leave_nothing_else(folder):
    put(folder, "a.png", photo(100, 100))
    put(folder, "held/a.jpg", data_of(photo(200, 200, 1), "JPEG"))
    out = folder.parent / "build" / "images"

    def content() -> dict[str, bytes]:
        run(folder, resolution=64)
        return {name: (out / name).read_bytes() for name in files_under(out)}

    first = content()
    put(out, "stale.png")
    assert content() == first
    assert sorted(first) == ["a.png.png", "held/a.jpg.png", "index.json"]


def test_pictures_that_are_too_small_or_of_another_shape_are_all_named(folder):
    put(folder, "wide.png", photo(200, 100))
    put(folder, "tiny.png", photo(32, 32))
    put(folder, "fine.png", photo(64, 64))
    put(folder, "both.png", photo(63, 200))
    assert error(folder, resolution=64) == (
        "pictures smaller than prepare.resolution, 64×64: both.png (63×200), tiny.png (32×32)\n"
        "  fix:     take larger originals, lower prepare.resolution, or set prepare.upscale: true\n"
        "pictures that are not 1:1, the shape of prepare.resolution (64×64): both.png (63×200), "
        "wide.png (200×100)\n"
        "  fix:     set prepare.buckets: true, which keeps their shapes, or prepare.crop: center "
        "(or random), or crop them yourself"
    )
    assert not (folder.parent / "build").exists()


def test_with_buckets_each_picture_keeps_its_shape(folder):
    put(folder, "upright.png", photo(100, 133))
    put(folder, "across.png", photo(160, 100, 1))
    index = run(folder, resolution=96, buckets=True, bucket_step=16)
    assert {path: (entry["size"], entry["crop"]) for path, entry in index.items()} == {
        "across.png": ([112, 80], [0, 8]),
        "upright.png": ([80, 112], [0, 2]),
    }
    scaled = np.asarray(photo(160, 100, 1).resize((128, 80), Image.Resampling.LANCZOS))
    assert np.array_equal(pixels(folder, index["across.png"]), scaled[:, 8:120])


def test_small_pictures_are_enlarged_when_asked_and_that_is_warned_of(folder):
    put(folder, "tiny.png", photo(32, 32))
    report = Quiet()
    out = folder.parent / "build" / "images"
    prepare(folder, manifest_of(folder).listed(), Prepare(resolution=64, upscale=True), out, report)
    assert report.warned == ["enlarged to 64×64, which teaches their blur: tiny.png (32×32)"]
    with Image.open(out / "tiny.png.png") as image:
        assert np.array_equal(image, photo(32, 32).resize((64, 64), Image.Resampling.LANCZOS))


def test_a_thread_of_a_picture_does_not_fill_the_memory(folder):
    put(folder, "line.png", photo(60000, 2))
    assert error(folder, resolution=1024, crop="center", upscale=True) == (
        "pictures so narrow that scaled to 1024×1024 they have more than 178,956,970 pixels: "
        "line.png (60000×2)\n"
        "  fix:     crop them yourself"
    )


def test_a_file_that_changed_since_the_manifest_is_named_and_nothing_stays(folder):
    put(folder, "a.png", photo(64, 64, 1))
    put(folder, "b.png", photo(64, 64, 2))
    manifest = manifest_of(folder)
    put(folder, "b.png", photo(64, 64, 3))
    out = folder.parent / "build" / "images"
    with pytest.raises(UserError) as caught:
        prepare(folder, manifest.listed(), Prepare(resolution=64), out, Quiet())
    assert str(caught.value) == (
        "data/b.png: changed since the dataset stage looked\n"
        "  fix:     run `dvc repro`, which looks again"
    )
    assert not out.exists()


def test_a_file_that_went_since_the_manifest_is_named(folder):
    put(folder, "a.png", photo(64, 64, 1))
    put(folder, "b.png", photo(64, 64, 2))
    manifest = manifest_of(folder)
    (folder / "b.png").unlink()
    with pytest.raises(UserError) as caught:
        prepare(folder, manifest.listed(), Prepare(resolution=64), folder.parent / "out", Quiet())
    assert str(caught.value) == (
        "data: gone since the dataset stage looked: b.png\n"
        "  fix:     put them back, or run `dvc repro`, which looks again"
    )


def test_a_full_disk_leaves_nothing_half_written(folder, monkeypatch):
    put(folder, "a.png", photo(64, 64, 1))
    put(folder, "b.png", photo(64, 64, 2))
    written = []

    def full(path: Path, data: bytes) -> None:
        if written:
            raise OSError(28, "No space left on device")
        put(path.parent, path.name, data)
        written.append(path)

    monkeypatch.setattr("lora_recipes.dataset.prepare.write_bytes", full)
    with pytest.raises(OSError, match="No space left"):
        run(folder, resolution=64)
    assert written
    assert not (folder.parent / "build" / "images").exists()


def test_the_filter_averages_what_it_scales_down(folder):
    """A fine chessboard becomes grey; picking pixels would leave it black and white."""
    board = (np.indices((256, 256)).sum(0) % 2 * 255).astype(np.uint8)
    put(folder, "a.png", Image.fromarray(board).convert("RGB"))
    inner = pixels(folder, run(folder, resolution=64)["a.png"])[8:-8, 8:-8].astype(int)
    assert np.abs(inner - 127.5).max() <= 2


@pytest.mark.parametrize("size", [(1, 1), (3, 2), (64, 128), (300, 100)])
def test_a_written_png_holds_the_pixels_and_nothing_else(size):
    picture = photo(*size)
    picture.info["icc_profile"] = b"not to be written"
    with Image.open(io.BytesIO(png(picture))) as read:
        assert (read.format, read.mode) == ("PNG", "RGB")
        assert np.array_equal(read, picture)
        assert read.info == {}


def test_a_png_has_the_same_bytes_whatever_the_compressor():
    """Stored, so that no version of zlib has a say in them."""
    pixel = Image.new("RGB", (1, 1), (10, 20, 30))
    assert png(pixel).hex() == (
        "89504e470d0a1a0a"
        "0000000d49484452"
        "0000000100000001"
        "0802000000"
        "907753de"
        "0000000f49444154"
        "7801"
        "010400fbff"
        "000a141e"
        "0068003d"
        "e80cbb83"
        "0000000049454e44ae426082"
    )


def test_the_stages_write_the_pixels_of_the_plain_loop_that_they_are_measured_against(
    monkeypatch, capsys
):
    monkeypatch.setattr(prepare_photos, "SIZE", (320, 240))
    monkeypatch.setattr(sys, "argv", ["x", "--photos", "3", "--resolution", "64", "--pairs", "1"])
    prepare_photos.main()
    told = capsys.readouterr().out.splitlines()
    assert told[-1] == "note: the pixels are equal, picture by picture"


MEASURE = """
import resource, sys
from pathlib import Path
from lora_recipes.dataset.manifest import make, read
from lora_recipes.dataset.prepare import prepare
from lora_recipes.recipe.sections.prepare import Prepare
from lora_recipes.reporting import Quiet
root = Path(sys.argv[1])
images = read(root / "manifest.json").images
for count in (2, len(images)):
    some = make(images[:count])
    prepare(root / "data", some.listed(), Prepare(resolution=64), root / "out", Quiet())
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


def test_memory_does_not_grow_with_the_number_of_pictures(folder):
    for number in range(14):
        put(folder, f"{number:02}.bmp", data_of(Image.new("RGB", (1000, 1000)), "BMP"))
    write(folder.parent / "manifest.json", manifest_of(folder))
    command = [sys.executable, "-c", MEASURE, str(folder.parent)]
    here = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    done = subprocess.run(command, env=here, capture_output=True, text=True, check=True)
    few, many = map(int, done.stdout.split())
    one_picture = 1000 * 1000 * 4 // 1024  # KiB, as Pillow holds it
    assert many <= few + 3 * one_picture
