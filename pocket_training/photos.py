"""The pictures and tables of docs/photos.md: what buckets, tags, masks and regularization do.

`python -m pocket_training.photos` draws `docs/photos/*.png` and writes the page's tables anew, all
by the functions that `dvc repro` goes by; `--check` only compares.
"""

from __future__ import annotations

import argparse
import random
import re
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from lora_recipes.dataset.buckets import target_of
from lora_recipes.dataset.geometry import Placement, place
from lora_recipes.dataset.variants import text
from lora_recipes.recipe.sections.caption import CaptionSettings
from lora_recipes.recipe.sections.prepare import Prepare
from lora_recipes.recipe.sections.train import Train
from lora_recipes.recipe.size import Size
from lora_recipes.train.data.prior_stream import PriorStream
from lora_recipes.train.data.stream import Stream
from pocket_training import demo, world
from pocket_training.world import COLOURS, SUPERSAMPLE, Place

PAGE, FOLDER = Path("docs/photos.md"), Path("docs/photos")
LONG, THUMB, GAP = 132, 44, 8
"""Pixels: the longer side of a photo in a figure, of a small one, and what is between two."""

FRAME, CUT = (214, 70, 20), (255, 255, 255)
BUCKETS, SQUARE = Prepare(buckets=True), Prepare(crop="center")

# What a phone or a camera gives, upright: its size, the ground, and where the toy stands in it.
PHOTOS: tuple[tuple[Size, str, str, Place], ...] = (
    ((3024, 4032), "green", "room", Place(0.36, 0.20, 0.13)),
    ((4032, 3024), "blue", "room", Place(0.17, 0.42, 0.14)),
    ((1920, 1080), "pink", "plain", Place(0.86, 0.30, 0.12)),
    ((1080, 2340), "white", "room", Place(0.24, 0.14, 0.11)),
    ((3000, 3000), "orange", "plain", Place(0.50, 0.52, 0.24)),
)
CAPTION = "zwk toy, on the left, red background, studio light, no shadow"
TAGS = CaptionSettings(shuffle=True, keep_tokens=1, tag_dropout=0.25)
SHOWN_TEXTS = 6


def photo(number: int, long: int = LONG) -> Image.Image:
    """One of `PHOTOS`, its longer side so many pixels."""
    size, colour, kind, at = PHOTOS[number]
    side = long * SUPERSAMPLE
    rng = random.Random(f"photo {number}")
    image = world.background(COLOURS[colour], kind, side, rng)
    demo.paste_subject(image, at)
    width, height = (round(side * edge / max(size)) for edge in size)
    return image.crop((0, 0, width, height)).reduce(SUPERSAMPLE)


def placed(size: Size, prepare: Prepare) -> tuple[Placement, Size]:
    """Where a picture's training size lies in it, and what that size is."""
    target = target_of(size, prepare)
    return place(size, target, prepare.crop, prepare.seed, ""), target


def cropped(size: Size, prepare: Prepare) -> float:
    """The part of a picture that is not trained on."""
    found, (width, height) = placed(size, prepare)
    return 1 - width * height / (found.resized[0] * found.resized[1])


def marked(image: Image.Image, size: Size, prepare: Prepare) -> Image.Image:
    """A picture, pale where it is cropped, with a frame around what is trained on."""
    found, target = placed(size, prepare)
    scale = image.width / found.resized[0]
    left, top = round(found.left * scale), round(found.top * scale)
    right = min(image.width, round((found.left + target[0]) * scale))
    bottom = min(image.height, round((found.top + target[1]) * scale))
    pale = Image.blend(image, Image.new("RGB", image.size, CUT), 0.72)
    pale.paste(image.crop((left, top, right, bottom)), (left, top))
    ImageDraw.Draw(pale).rectangle((left, top, right - 1, bottom - 1), outline=FRAME, width=2)
    return pale


def row(images: Sequence[Image.Image], gap: int = GAP) -> Image.Image:
    """Pictures beside one another, in the middle of the highest."""
    height = max(image.height for image in images)
    width = sum(image.width for image in images) + gap * (len(images) - 1)
    sheet, left = Image.new("RGB", (width, height), CUT), 0
    for image in images:
        sheet.paste(image, (left, (height - image.height) // 2))
        left += image.width + gap
    return sheet


def column(images: Sequence[Image.Image], gap: int = GAP) -> Image.Image:
    """Pictures below one another, from the left."""
    width = max(image.width for image in images)
    height = sum(image.height for image in images) + gap * (len(images) - 1)
    sheet, top = Image.new("RGB", (width, height), CUT), 0
    for image in images:
        sheet.paste(image, (0, top))
        top += image.height + gap
    return sheet


def crops() -> Image.Image:
    """Above, what a square crop leaves of each photo; below, what its bucket does."""
    pictures = [photo(number) for number in range(len(PHOTOS))]
    sizes = [size for size, *_ in PHOTOS]
    return column([
        row([marked(image, size, prepare) for image, size in zip(pictures, sizes, strict=True)])
        for prepare in (SQUARE, BUCKETS)
    ])  # fmt: skip


def batches() -> Image.Image:
    """The batches of two epochs in the order in which the training sees them, two photos each."""
    shapes = [target_of(size, BUCKETS) for size, *_ in PHOTOS]
    train = Train(repeats=2, epochs=2, batch_size=2, gradient_accumulation=1)
    stream = Stream.of([1] * len(PHOTOS), train, shapes)
    drawn = [
        row([photo(sample.image, THUMB) for sample in stream.batch(number)], 2)
        for number in range(stream.batches)
    ]
    half = (len(drawn) + 1) // 2
    return column([row(drawn[:half], 2 * GAP), row(drawn[half:], 2 * GAP)])


def masks() -> Image.Image:
    """A picture, its mask, what each latent pixel counts, and what of the picture that is."""
    from lora_recipes.encode.moments import read_mask

    at = Place(0.34, 0.60, 0.26, 0.05)
    picture = demo.draw_subject("purple", "room", at)
    mask = demo.subject_mask(at)
    with tempfile.TemporaryDirectory() as folder:
        mask.save(Path(folder) / "mask.png")
        counts = read_mask(Path(folder) / "mask.png")[0].numpy()
    weights = Image.fromarray((255 * counts).round().astype(np.uint8))
    weights = weights.resize(picture.size, Image.Resampling.NEAREST)
    learned = Image.composite(picture, Image.new("RGB", picture.size, CUT), weights)
    return row([picture, mask.convert("RGB"), weights.convert("RGB"), learned])


def steps() -> Image.Image:
    """The first optimizer steps: the subject's two batches, then two of regularization images."""
    own = [image for image, _ in demo.folders()["demo"]]
    others = [world.draw(seed)[0] for seed in range(40, 40 + 12)]
    train = Train(repeats=4, batch_size=2, gradient_accumulation=2, prior_batch_size=1)
    inner = Stream.of([1] * len(own), train)
    stream = PriorStream.of(inner, [1] * len(others), (), train)
    pictures = [image.resize((THUMB, THUMB), Image.Resampling.BOX) for image in [*own, *others]]
    rows = []
    for step in range(3):
        numbers = range(step * stream.accumulation, (step + 1) * stream.accumulation)
        drawn = [row([pictures[s.image] for s in stream.batch(n)], 2) for n in numbers]
        rows.append(row(drawn, 2 * GAP))
    return column(rows)


def figures() -> dict[str, Image.Image]:
    """Every picture of the page, by its file's name."""
    made = {"crops": crops(), "batches": batches(), "masks": masks(), "steps": steps()}
    return {f"{name}.png": image for name, image in made.items()}


def tables() -> dict[str, list[str]]:
    """Every table of the page, by its mark."""
    sizes = [
        "| photo | as a square, cropped | bucket | cropped |",
        "|---|---|---|---|",
    ]
    for size, *_ in PHOTOS:
        (width, height), (wide, high) = size, target_of(size, BUCKETS)
        lost, left = cropped(size, SQUARE), cropped(size, BUCKETS)
        sizes.append(f"| {width}×{height} | {lost:.0%} | {wide}×{high} | {left:.1%} |")
    words = ["| number | text |", "|---|---|"]
    words += [f"| {n} | {text(CAPTION, n, TAGS)} |" for n in range(SHOWN_TEXTS)]
    return {"buckets": sizes, "texts": words}


def page(before: str) -> str:
    """The page with its tables made anew."""
    for name, lines in tables().items():
        mark = rf"(<!-- {name}[^>]*-->\n).*?(<!-- end -->)"
        table = "\n".join(lines)
        before, count = re.subn(
            mark, lambda found, table=table: f"{found[1]}{table}\n{found[2]}", before, flags=re.S
        )
        assert count == 1, f"the page has one table of {name}"
    return before


def write(root: Path) -> None:
    """Draw the pictures and write the tables."""
    (root / FOLDER).mkdir(exist_ok=True)
    for name, image in figures().items():
        image.save(root / FOLDER / name, compress_level=9)
    (root / PAGE).write_text(page((root / PAGE).read_text("utf-8")), "utf-8")


def differences(root: Path) -> list[str]:
    """The files that are not what this code makes."""
    drawn, wrong = figures(), []
    for name, image in drawn.items():
        file = root / FOLDER / name
        if not file.is_file() or not demo.same_pixels(file, image):
            wrong.append((FOLDER / name).as_posix())
    text_now = (root / PAGE).read_text("utf-8")
    return wrong if page(text_now) == text_now else [*wrong, PAGE.as_posix()]


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="photos", description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing, only compare")
    root = Path.cwd()
    if not parser.parse_args(argv).check:
        write(root)
    wrong = differences(root)
    for name in wrong:
        print(f"{name}: not what `python -m pocket_training.photos` makes")
    return 1 if wrong else 0


if __name__ == "__main__":
    raise SystemExit(main())
