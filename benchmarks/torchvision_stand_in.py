"""The few functions of torchvision that diffusers' script prepares its pictures with, in Pillow.

Used only where torchvision is not installed. The script prepares each picture once, before its
first step, so nothing here is part of a step; importing the real thing would take it longer.
"""

from __future__ import annotations

import random
import sys
from collections.abc import Callable
from enum import Enum
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor


class InterpolationMode(Enum):
    """Pillow's filters by torchvision's names."""

    LANCZOS = Image.Resampling.LANCZOS
    BILINEAR = Image.Resampling.BILINEAR
    BICUBIC = Image.Resampling.BICUBIC
    NEAREST = Image.Resampling.NEAREST


class Compose:
    """One after the other."""

    def __init__(self, steps: list[Callable[[Any], Any]]) -> None:
        self.steps = steps

    def __call__(self, picture: Any) -> Any:
        for step in self.steps:
            picture = step(picture)
        return picture


class Resize:
    """The shorter edge becomes `size` pixels."""

    def __init__(self, size: int, interpolation: InterpolationMode) -> None:
        self.size, self.filter = size, interpolation.value

    def __call__(self, picture: Image.Image) -> Image.Image:
        scale = self.size / min(picture.size)
        width, height = (round(scale * edge) for edge in picture.size)
        return picture.resize((width, height), self.filter)


class CenterCrop:
    """The square in the middle."""

    def __init__(self, size: int) -> None:
        self.size = size

    def __call__(self, picture: Image.Image) -> Image.Image:
        return ImageOps.fit(picture, (self.size, self.size))


class RandomCrop(CenterCrop):
    """A square from anywhere."""

    @staticmethod
    def get_params(picture: Image.Image, size: tuple[int, int]) -> tuple[int, int, int, int]:
        """Top, left, height, width."""
        height, width = size
        top = random.randint(0, picture.height - height)
        return top, random.randint(0, picture.width - width), height, width


class RandomHorizontalFlip:
    """Left and right change places."""

    def __init__(self, p: float) -> None:
        assert p == 1.0

    def __call__(self, picture: Image.Image) -> Image.Image:
        return ImageOps.mirror(picture)


class ToTensor:
    """[C, H, W] float32 in [0, 1]."""

    def __call__(self, picture: Image.Image) -> Tensor:
        return torch.from_numpy(np.array(picture)).permute(2, 0, 1).float() / 255


class Normalize:
    """(x - mean) / std."""

    def __init__(self, mean: list[float], std: list[float]) -> None:
        self.mean, self.std = mean[0], std[0]

    def __call__(self, picture: Tensor) -> Tensor:
        return (picture - self.mean) / self.std


def crop(picture: Image.Image, top: int, left: int, height: int, width: int) -> Image.Image:
    """A part of a picture."""
    return picture.crop((left, top, left + width, top + height))


def install() -> None:
    """Make `import torchvision` give this; diffusers and transformers go on without it."""
    from transformers.utils import is_torchvision_available

    assert not is_torchvision_available()  # asked now, and remembered
    whole = _module("torchvision")
    whole.transforms = _module("torchvision.transforms")  # type: ignore[attr-defined]
    functional = _module("torchvision.transforms.functional")
    functional.crop = crop  # type: ignore[attr-defined]
    for part in (InterpolationMode, Compose, Resize, CenterCrop, RandomCrop, RandomHorizontalFlip,
                 ToTensor, Normalize):  # fmt: skip
        setattr(whole.transforms, part.__name__, part)


def _module(name: str) -> ModuleType:
    module = ModuleType(name)
    module.__spec__ = ModuleSpec(name, None)
    module.__path__ = []
    sys.modules[name] = module
    return module
