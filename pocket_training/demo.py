"""The demo's subject, a toy that the pocket has never seen, and the pictures that teach it.

`python -m pocket_training.demo` draws `data/demo` (8 pictures to train on),
`data/demo/heldout` (4 on other backgrounds) and `data/demo/others` (8 of other things);
`--check` only compares the files with what would be drawn.
"""

from __future__ import annotations

import argparse
import random
from pathlib import Path

import numpy as np
from PIL import Image

from pocket_training import world
from pocket_training.world import COLOURS, RESERVED, SUPERSAMPLE, Colour, Place

TRIGGER, CLASS_WORD = "zwk", "toy"
BODY: Colour = RESERVED["teal"]
CORE: Colour = COLOURS["yellow"]

# Caption, background colour, its kind, and where the subject stands.
Scene = tuple[str, str, str, Place]

TRAINING: tuple[Scene, ...] = (
    ("a photo of a zwk toy on a red background", "red", "plain", Place(0.50, 0.53, 0.31, 0.00)),
    (
        "a photo of a zwk toy on a blue background",
        "blue",
        "gradient",
        Place(0.47, 0.52, 0.32, 0.07),
    ),
    ("a picture of a zwk toy in a white room", "white", "room", Place(0.52, 0.55, 0.31, -0.06)),
    ("a zwk toy on a green background", "green", "plain", Place(0.49, 0.51, 0.33, -0.03)),
    ("a photo of a zwk toy on a black background", "black", "plain", Place(0.53, 0.52, 0.32, 0.09)),
    ("an image of a zwk toy, white background", "white", "gradient", Place(0.48, 0.56, 0.32, 0.03)),
    ("a photo of a zwk toy in a red room", "red", "room", Place(0.46, 0.54, 0.31, -0.09)),
    ("a zwk toy, blue background", "blue", "plain", Place(0.51, 0.50, 0.30, 0.05)),
)
HELD_OUT: tuple[Scene, ...] = (
    ("a photo of a zwk toy on a pink background", "pink", "plain", Place(0.51, 0.52, 0.32, 0.04)),
    ("a zwk toy in a purple room", "purple", "room", Place(0.48, 0.54, 0.31, -0.05)),
    (
        "a picture of a zwk toy on an orange background",
        "orange",
        "gradient",
        Place(0.52, 0.51, 0.32, 0.06),
    ),
    ("a zwk toy, yellow background", "yellow", "plain", Place(0.49, 0.54, 0.31, 0.00)),
)
PARTS = (
    (-0.72, -0.78, 0.42, BODY),
    (0.72, -0.78, 0.42, BODY),
    (0.0, 0.0, 1.0, BODY),
    (0.0, 0.05, 0.55, CORE),
)
"""Of the toy, each drawn over those before it: offset and radius in its radii, and colour."""
OTHERS = (3, 4, 6, 8, 10, 13, 17, 19)
"""Seeds of ordinary pictures of the world, for comparison."""


def draw_subject(colour: str, kind: str, place: Place, size: int = 128) -> Image.Image:
    """The toy: a round teal body with two round ears and a big round yellow core."""
    side = size * SUPERSAMPLE
    rng = random.Random(f"pocket demo {colour} {kind} {place}")
    image = world.background(COLOURS[colour], kind, side, rng)
    paste_subject(image, place)
    return image.reduce(SUPERSAMPLE)


def paste_subject(image: Image.Image, place: Place) -> None:
    """Draw the toy into a square picture."""
    for dx, dy, radius, fill in PARTS:
        at = _inside(place, dx, dy, radius)
        image.paste(fill, (0, 0), world.mask("circle", at, image.width))


def subject_mask(place: Place, size: int = 128) -> Image.Image:
    """Where the toy is, as an "L" image: 255 inside, 0 outside, grey at its edge."""
    image = Image.new("L", (size * SUPERSAMPLE, size * SUPERSAMPLE))
    for dx, dy, radius, _ in PARTS:
        image.paste(255, (0, 0), world.mask("circle", _inside(place, dx, dy, radius), image.width))
    return image.reduce(SUPERSAMPLE)


def _inside(place: Place, dx: float, dy: float, radius: float) -> Place:
    """A part's own place: offset and radius are in the whole's radii, turned with it."""
    turned = complex(dx, dy) * complex(np.cos(place.rotation), np.sin(place.rotation))
    return Place(
        place.x + place.radius * turned.real,
        place.y + place.radius * turned.imag,
        place.radius * radius,
    )


def _pictured(scene: Scene) -> tuple[Image.Image, str]:
    caption, colour, kind, place = scene
    return draw_subject(colour, kind, place), caption


def folders() -> dict[str, list[tuple[Image.Image, str]]]:
    """Every demo folder's name, with its pictures and captions in order."""
    return {
        "demo": [_pictured(scene) for scene in TRAINING],
        "demo/heldout": [_pictured(scene) for scene in HELD_OUT],
        "demo/others": [world.draw(seed)[:2] for seed in OTHERS],
    }


def write(data: Path) -> None:
    """Writes `NN.png` and `NN.txt` into each folder under `data`."""
    for name, pictures in folders().items():
        (data / name).mkdir(parents=True, exist_ok=True)
        for number, (image, caption) in enumerate(pictures, start=1):
            image.save(data / name / f"{number:02}.png", compress_level=9)
            (data / name / f"{number:02}.txt").write_text(caption + "\n", "utf-8")


def differences(data: Path) -> list[str]:
    """The files under `data` whose pixels or caption are not what would be drawn."""
    wrong = []
    for name, pictures in folders().items():
        for number, (image, caption) in enumerate(pictures, start=1):
            file = data / name / f"{number:02}.png"
            text = file.with_suffix(".txt")
            if not file.exists() or not same_pixels(file, image):
                wrong.append(f"{name}/{file.name}")
            if not text.exists() or text.read_text("utf-8") != caption + "\n":
                wrong.append(f"{name}/{text.name}")
    return wrong


def same_pixels(file: Path, image: Image.Image) -> bool:
    """Whether a file holds that picture, however it is compressed."""
    with Image.open(file) as found:
        return np.array_equal(np.asarray(found), np.asarray(image))


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="demo", description=__doc__)
    parser.add_argument("--data", type=Path, default=Path("data"), help="where the folders lie")
    parser.add_argument("--check", action="store_true", help="write nothing, only compare")
    arguments = parser.parse_args(argv)
    if not arguments.check:
        write(arguments.data)
    wrong = differences(arguments.data)
    for name in wrong:
        print(f"{arguments.data / name}: not what this code draws")
    return 1 if wrong else 0


if __name__ == "__main__":
    raise SystemExit(main())
