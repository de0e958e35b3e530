"""Draws the pretraining pictures once, on all cores, and keeps them as uint8 arrays."""

from __future__ import annotations

import json
from functools import partial
from multiprocessing import Pool
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lora_recipes.pocket import world

Pixels = NDArray[np.uint8]

WORLD_COUNT = 30_000
FREE_COUNT = 12_000
HELD_OUT = 10_000_000
"""Seeds from here on are for tests and the model card: no training picture has them."""


def _world(size: int, seed: int) -> tuple[Pixels, str]:
    image, caption, _ = world.draw(seed, size)
    return np.asarray(image), caption


def _free(size: int, seed: int) -> Pixels:
    return np.asarray(world.draw_free(seed, size))


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
