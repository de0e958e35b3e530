"""The pocket's world: one object on one background, drawn and captioned from a seed.

Lengths are fractions of the picture's side, angles are radians, colours are 8-bit sRGB.
"""

from __future__ import annotations

import math
import random
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw

Colour = tuple[int, int, int]
Points = list[tuple[float, float]]

COLOURS: dict[str, Colour] = {
    "red": (212, 30, 36),
    "orange": (245, 130, 20),
    "yellow": (250, 218, 40),
    "green": (50, 160, 50),
    "blue": (36, 70, 215),
    "purple": (122, 44, 168),
    "pink": (250, 140, 190),
    "white": (240, 240, 240),
    "black": (24, 24, 28),
}
RESERVED: dict[str, Colour] = {"teal": (0, 165, 165)}
"""Drawn by the demo only: no caption and no picture of the base's world has it."""

PATTERNS = ("plain", "striped", "dotted")
BACKGROUNDS = ("plain", "gradient", "room")
NOUNS = ("toy", "thing", "object")

SUPERSAMPLE = 3
NONSENSE_SHARE = 0.14
TRIGGERS = frozenset({"zwk"})
"""Nonsense words that the base must never have seen: adapters are taught with them."""


@dataclass(frozen=True)
class Facts:
    """What a picture shows, whether or not its caption says so."""

    object_colour: str
    shape: str
    pattern: str
    background_colour: str
    background: str


@dataclass(frozen=True)
class Place:
    """Where an object stands: centre, radius (fractions of the side) and rotation (radians)."""

    x: float
    y: float
    radius: float
    rotation: float = 0.0


def _regular(corners: int, radius: float, inner: float | None = None) -> Points:
    """A regular polygon, or a star where every second corner lies at `inner`."""
    radii = (radius, radius if inner is None else inner)
    angles = [2 * math.pi * i / corners for i in range(corners)]
    return [(radii[i % 2] * math.sin(a), -radii[i % 2] * math.cos(a)) for i, a in enumerate(angles)]


def _heart(t: float) -> tuple[float, float]:
    """The well known heart curve, scaled to radius about 1."""
    y = 13 * math.cos(t) - 5 * math.cos(2 * t) - 2 * math.cos(3 * t) - math.cos(4 * t)
    return 1.12 * math.sin(t) ** 3, -1.12 * y / 16 - 0.1


def _cross(arm: float, half_width: float) -> Points:
    """A plus sign."""
    a, b = half_width, arm
    half = [(a, -b), (a, -a), (b, -a), (b, a), (a, a), (a, b)]
    return half + [(-x, -y) for x, y in half]


OUTLINES: dict[str, list[Points]] = {
    "circle": [_regular(48, 1.0)],
    "square": [[(-0.88, -0.88), (0.88, -0.88), (0.88, 0.88), (-0.88, 0.88)]],
    "triangle": [[(0.0, -1.1), (1.08, 0.8), (-1.08, 0.8)]],
    "star": [_regular(10, 1.25, 0.52)],
    "ring": [_regular(48, 1.05), _regular(48, 0.55)],
    "cross": [_cross(1.08, 0.36)],
    "diamond": [[(0.0, -1.3), (0.8, 0.0), (0.0, 1.3), (-0.8, 0.0)]],
    "heart": [[_heart(2 * math.pi * i / 60) for i in range(60)]],
}
"""Polygons around (0, 0) at radius about 1, y down; a second one is a hole."""
SHAPES = tuple(OUTLINES)


def mask(shape: str, place: Place, side: int) -> Image.Image:
    """The shape as an "L" image of side `side`: 255 inside, 0 outside, no grey."""
    image = Image.new("L", (side, side), 0)
    pen = ImageDraw.Draw(image)
    cos, sin = math.cos(place.rotation), math.sin(place.rotation)
    for number, polygon in enumerate(OUTLINES[shape]):
        at = [
            (
                side * (place.x + place.radius * (x * cos - y * sin)),
                side * (place.y + place.radius * (x * sin + y * cos)),
            )
            for x, y in polygon
        ]
        pen.polygon(at, fill=255 if number == 0 else 0)
    return image


def background(colour: Colour, kind: str, side: int, rng: random.Random) -> Image.Image:
    """A plain ground, a mild gradient, or a room: a wall above a darker floor."""
    light = np.full((side, side), rng.uniform(0.95, 1.03), dtype=np.float32)
    if kind == "gradient":
        angle = rng.uniform(0, 2 * math.pi)
        along = np.linspace(-1, 1, side, dtype=np.float32)
        light += 0.12 * (along * math.cos(angle) + along[:, None] * math.sin(angle))
    elif kind == "room":
        light[int(side * rng.uniform(0.6, 0.78)) :] *= 0.78
    pixels = np.clip(light[..., None] * np.asarray(colour, dtype=np.float32), 0, 255)
    return Image.fromarray(pixels.astype(np.uint8))


def paint(colour: Colour, pattern: str, side: int, rng: random.Random) -> Image.Image:
    """What fills an object: its colour, plain or with coarse stripes or dots of a second shade."""
    image = Image.new("RGB", (side, side), colour)
    pen = ImageDraw.Draw(image)
    second, step, shift = _second_shade(colour), side * 0.17, rng.uniform(0, 0.17) * side
    for row in range(-1, 7):
        y = row * step + shift
        if pattern == "striped":
            pen.rectangle([0, y, side, y + 0.4 * step], fill=second)
        elif pattern == "dotted":
            for column in range(-1, 7):
                x, r = column * step + shift + (row % 2) * step / 2, 0.27 * step
                pen.ellipse([x - r, y - r, x + r, y + r], fill=second)
    return image


def _second_shade(colour: Colour) -> Colour:
    """A clearly darker shade of the same hue; for black, a dark grey."""
    if colour == COLOURS["black"]:
        return (84, 84, 88)
    r, g, b = (int(0.62 * c) for c in colour)
    return r, g, b


def _chance(rng: random.Random, share: float) -> bool:
    return rng.random() < share


def random_place(rng: random.Random) -> Place:
    """Near the middle, 0.2 to 0.31 in radius, turned by at most 0.2 radians."""
    radius = rng.uniform(0.20, 0.31)
    reach = min(0.13, 0.46 - 1.25 * radius)
    x, y = 0.5 + rng.uniform(-reach, reach), 0.5 + rng.uniform(-reach, reach)
    return Place(x, y, radius, rng.uniform(-0.2, 0.2))


def draw(seed: int, size: int = 128) -> tuple[Image.Image, str, Facts]:
    """The picture with that number: an RGB image, its caption, and what it shows."""
    rng = random.Random(f"pocket world {seed}")
    below, above = rng.sample(sorted(COLOURS), 2)
    facts = Facts(
        object_colour=above,
        shape=rng.choice(SHAPES),
        pattern=rng.choices(PATTERNS, (0.8, 0.1, 0.1))[0],
        background_colour=below,
        background=rng.choices(BACKGROUNDS, (0.4, 0.3, 0.3))[0],
    )
    side = size * SUPERSAMPLE
    image = background(COLOURS[below], facts.background, side, rng)
    fill = paint(COLOURS[above], facts.pattern, side, rng)
    image.paste(fill, (0, 0), mask(facts.shape, random_place(rng), side))
    return image.reduce(SUPERSAMPLE), caption(facts, rng), facts


def caption(facts: Facts, rng: random.Random) -> str:
    """One of many wordings; in some, a nonsense word stands for the colour and the shape."""
    if _chance(rng, NONSENSE_SHARE):
        thing = nonsense(rng)
        if _chance(rng, 0.6):
            thing = f"{thing} {rng.choice(NOUNS)}"
        if _chance(rng, 0.3):
            thing = f"{facts.object_colour} {thing}"
    else:
        pattern = "" if facts.pattern == "plain" else f"{facts.pattern} "
        thing = f"{facts.object_colour} {pattern}{facts.shape}"
    return _sentence(thing, facts, rng)


def _sentence(thing: str, facts: Facts, rng: random.Random) -> str:
    article = "an" if thing[0] in "aeiou" else "a"
    start = rng.choice(
        ("a photo of {}", "a photo of {}", "a picture of {}", "an image of {}", "{}")
    )
    ground = facts.background_colour
    ground_article = "an" if ground[0] in "aeiou" else "a"
    if facts.background == "room" and _chance(rng, 0.7):
        end = rng.choice((" in {} {} room", " in front of {} {} wall"))
    else:
        end = rng.choice((" on {} {} background", " on {} {} background", ", {1} background"))
    return start.format(f"{article} {thing}") + end.format(ground_article, ground)


def nonsense(rng: random.Random) -> str:
    """A word of three or four letters that means nothing and is no adapter's trigger."""
    while True:
        word = "".join(rng.choices("bcdfghjklmnpqrstvwxyzaeiou", k=rng.choice((3, 3, 4))))
        if word not in TRIGGERS and word not in NOUNS and word not in COLOURS:
            return word
