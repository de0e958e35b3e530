"""Says what a pocket picture shows, from its pixels alone: colours, shape, the demo's subject.

A pixel is named after the colour whose lit and shaded versions come nearest, so a gradient or
a dark floor keeps its name. The ground is what the border shows most; the object is the rest.
"""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from pocket_training import world
from pocket_training.world import COLOURS, RESERVED, SHAPES, Place

Mask = NDArray[np.bool_]

NAMES = (*COLOURS, *RESERVED)
NONE = "none"
SIDE = 128
BORDER = 6
"""Width in pixels of the frame that is taken for background."""
SMALLEST = 0.015
"""An object covers at least this share of the picture."""
# How far light and shadow take each colour: factors on its RGB values.
SHADES = {"black": (0.6, 3.6), "white": (0.55, 1.1)}
OTHER_SHADES = (0.5, 1.15)

TEMPLATE = 40
ALIKE = 0.55
"""Least overlap (intersection over union) with a drawn shape to bear its name."""

LEAST_TEAL, MOST_TEAL = 0.03, 0.45
"""Shares of the picture that the demo subject's body may cover."""
LEAST_CORE, MOST_CORE = 0.12, 1.0
"""The core's area as a share of the body's; as drawn it is about 0.3."""


def _pixels(image: Image.Image) -> NDArray[np.float32]:
    """[128, 128, 3] floats, 0 to 255; specks smaller than a few pixels are smoothed away."""
    picture = image.convert("RGB")
    if picture.size != (SIDE, SIDE):
        picture = picture.resize((SIDE, SIDE), Image.Resampling.BOX)
    return np.asarray(picture.filter(ImageFilter.MedianFilter(3)), dtype=np.float32)


def colour_numbers(image: Image.Image) -> NDArray[np.intp]:
    """[128, 128] indices into `NAMES`: the colour whose range of shades lies nearest."""
    pixels = _pixels(image)
    distances = []
    for name, colour in (COLOURS | RESERVED).items():
        lit = np.asarray(colour, dtype=np.float32)
        low, high = SHADES.get(name, OTHER_SHADES)
        shade = np.clip(pixels @ lit / (lit @ lit), low, high)
        distances.append(np.square(pixels - shade[..., None] * lit).sum(axis=-1))
    numbers: NDArray[np.intp] = np.argmin(np.stack(distances), axis=0)
    return numbers


def _frame() -> Mask:
    frame = np.ones((SIDE, SIDE), dtype=bool)
    frame[BORDER:-BORDER, BORDER:-BORDER] = False
    return frame


def _most_common(numbers: NDArray[np.intp]) -> int:
    return int(np.bincount(numbers, minlength=len(NAMES)).argmax())


def background_colour(image: Image.Image) -> str:
    """The name of the colour that most of the border has."""
    return NAMES[_most_common(colour_numbers(image)[_frame()])]


def object_mask(image: Image.Image) -> Mask:
    """[128, 128] true where the picture is not of the background's colour."""
    numbers = colour_numbers(image)
    other = numbers != _most_common(numbers[_frame()])
    smooth = Image.fromarray(other.astype(np.uint8) * 255).filter(ImageFilter.MedianFilter(5))
    return np.asarray(smooth) > 0


def object_colour(image: Image.Image) -> str:
    """The colour that most of the object has, or "none" without an object."""
    inside = object_mask(image)
    if inside.mean() < SMALLEST:
        return NONE
    return NAMES[_most_common(colour_numbers(image)[inside])]


def object_shape(image: Image.Image) -> str:
    """The drawn shape that overlaps the object's outline best, or "none"."""
    inside = object_mask(image)
    if inside.mean() < SMALLEST:
        return NONE
    seen = _normalised(inside)
    overlaps = {
        shape: max((seen & t).sum() / (seen | t).sum() for t in _templates(shape))
        for shape in SHAPES
    }
    best = max(overlaps, key=lambda shape: overlaps[shape])
    return best if overlaps[best] >= ALIKE else NONE


@cache
def _templates(shape: str) -> tuple[Mask, ...]:
    """The shape's own masks, turned by what the world allows and a little more."""
    places = [Place(0.5, 0.5, 0.28, turn) for turn in np.linspace(-0.27, 0.27, 7)]
    return tuple(_normalised(np.asarray(world.mask(shape, p, SIDE)) > 0) for p in places)


def _normalised(inside: Mask) -> Mask:
    """[40, 40]: the mask moved to its centroid and scaled by its spread, so position and
    size no longer matter. The spread is the root mean square distance from the centroid."""
    rows, columns = np.nonzero(inside)
    y, x = rows.mean(), columns.mean()
    spread = np.sqrt(np.square(rows - y).mean() + np.square(columns - x).mean())
    steps = (np.arange(TEMPLATE) + 0.5) / TEMPLATE * 2 - 1
    at_y = np.rint(y + 2.2 * spread * steps).astype(int)
    at_x = np.rint(x + 2.2 * spread * steps).astype(int)
    padded = np.pad(inside, SIDE)
    return padded[np.ix_(at_y + SIDE, at_x + SIDE)]


def finds_subject(image: Image.Image) -> bool:
    """Whether the demo's toy is there: a teal body around a big yellow core.

    Asks for enough teal and, with teal on all four of its sides, a core of believable size.
    The ears are not asked for.
    """
    numbers = colour_numbers(image)
    teal, yellow = numbers == NAMES.index("teal"), numbers == NAMES.index("yellow")
    if not LEAST_TEAL <= teal.mean() <= MOST_TEAL:
        return False
    core = (yellow & _enclosed(teal)).sum() / teal.sum()
    return bool(LEAST_CORE <= core <= MOST_CORE)


def _enclosed(body: Mask) -> Mask:
    """Pixels that have the body somewhere to their left, right, top and bottom."""
    inside = ~body
    for axis in (0, 1):
        inside &= np.maximum.accumulate(body, axis=axis)
        inside &= np.flip(np.maximum.accumulate(np.flip(body, axis), axis=axis), axis)
    return inside
