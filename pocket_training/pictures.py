"""The pretraining pictures, drawn once, on all cores, and kept as uint8 arrays."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from functools import partial
from multiprocessing import Pool
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pocket_training import world
from pocket_training.world import Colour, Place

Pixels = NDArray[np.uint8]

WORLD_COUNT = 30_000
FREE_COUNT = 12_000
INSIDE_SHARE, NAMED_SHARE = 0.6, 0.5
"""Of further parts, those inside the first; of colours, those that have a name."""
HELD_OUT = 10_000_000
"""Seeds from here on are for tests and the model card: no training picture has them."""


def _world(size: int, seed: int) -> tuple[Pixels, str]:
    image, caption, _ = world.draw(seed, size)
    return np.asarray(image), caption


def _free(size: int, seed: int) -> Pixels:
    return np.asarray(draw_free(seed, size))


def world_pictures(scratch: Path, count: int = WORLD_COUNT) -> tuple[Pixels, list[str]]:
    """[count, 128, 128, 3] captioned pictures, seeds 0 to count - 1; drawn if not there yet."""
    pixels_file, captions_file = scratch / f"world-{count}.npy", scratch / f"world-{count}.json"
    if not captions_file.exists():
        with Pool() as pool:
            drawn = pool.map(partial(_world, 128), range(count), chunksize=100)
        np.save(pixels_file, np.stack([pixels for pixels, _ in drawn]))
        captions_file.write_text(json.dumps([caption for _, caption in drawn]), "utf-8")
    return np.load(pixels_file, mmap_mode="r"), json.loads(captions_file.read_text("utf-8"))


def free_pictures(scratch: Path, count: int = FREE_COUNT) -> Pixels:
    """[count, 128, 128, 3] pictures of any colours and parts, for the VAE alone."""
    pixels_file = scratch / f"free-{count}.npy"
    if not pixels_file.exists():
        with Pool() as pool:
            drawn = pool.map(partial(_free, 128), range(count), chunksize=100)
        np.save(pixels_file, np.stack(drawn))
    return np.load(pixels_file, mmap_mode="r")


def draw_free(seed: int, size: int = 128) -> Image.Image:
    """Any colours, one to three parts, nested or apart: what only the VAE learns from."""
    rng = random.Random(f"pocket free {seed}")
    side = size * world.SUPERSAMPLE
    image = world.background(_any_colour(rng), rng.choice(world.BACKGROUNDS), side, rng)
    place = world.random_place(rng)
    for part in range(rng.choice((1, 2, 2, 3))):
        fill = world.paint(
            _any_colour(rng), rng.choices(world.PATTERNS, (0.8, 0.1, 0.1))[0], side, rng
        )
        if part:
            place = _beside_or_inside(place, rng)
        image.paste(fill, (0, 0), world.mask(rng.choice(world.SHAPES), place, side))
    return image.reduce(world.SUPERSAMPLE)


def _beside_or_inside(place: Place, rng: random.Random) -> Place:
    if rng.random() < INSIDE_SHARE:
        return Place(place.x, place.y, place.radius * rng.uniform(0.4, 0.65), place.rotation)
    return Place(rng.uniform(0.2, 0.8), rng.uniform(0.2, 0.8), rng.uniform(0.08, 0.25))


def _any_colour(rng: random.Random) -> Colour:
    """A random colour, half of the time a vivid or a reserved one."""
    if rng.random() < NAMED_SHARE:
        return rng.choice(
            [*world.COLOURS.values(), *world.RESERVED.values(), *world.RESERVED.values()]
        )
    return rng.randrange(256), rng.randrange(256), rng.randrange(256)


def contact_sheet(images: Sequence[Image.Image], columns: int = 8) -> Image.Image:
    """Pictures of one size, side by side in rows."""
    width, height = images[0].size
    rows = -(-len(images) // columns)
    sheet = Image.new("RGB", (width * columns, height * rows))
    for number, image in enumerate(images):
        sheet.paste(image, (number % columns * width, number // columns * height))
    return sheet
