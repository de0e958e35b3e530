"""How long a training takes where nothing like it was measured: counted operations at a speed that
devices of the kind reach. A wide range, but never none."""

from __future__ import annotations

import math
import re

from lora_recipes.machine import Device
from lora_recipes.plan.duration import Duration, spoken
from lora_recipes.plan.measured import table
from lora_recipes.plan.work import SDXL_UNET, Shape

PEAKS = {
    "H200": (989, 67),
    "H100 PCIe": (756, 51),
    "H100": (989, 67),
    "A100": (312, 19.5),
    "L40S": (362, 92),
    "A10": (125, 31),
    "A10G": (70, 35),
    "L4": (121, 30),
    "RTX A6000": (155, 39),
    "RTX 5090": (209, 105),
    "RTX 4090": (165, 83),
    "RTX 3090": (71, 36),
}
"""TFLOP/s of dense matrices with 16 bits, and with 32. Source: NVIDIA's data sheets."""

ANY_CARD = ((30, 400), (10, 70))
"""The same of a card that is not in the list, least and most."""

REACHED = (0.1, 0.5)
"""Share of the peak that a training reaches."""

CORE = {"fp32": (0.02, 0.1), "bf16": (0.01, 0.15), "fp16": (0.01, 0.15)}
"""TFLOP/s of a processor's thread; with 16 bits it depends on what the processor has for them."""

APPLE = (0.5, 12.0)

LAUNCHES = (0.02, 0.3)
"""Seconds that a small model's step waits for its launches on a GPU, whatever there is to compute.
"""

SMALL = 3.0
"""A small model on another processor is as fast as on the measured one to within this factor."""


def counted(shape: Shape, steps: int, device: Device) -> Duration | None:
    """The time of so many optimizer steps, or None for a model of unknown size."""
    if shape.unet != SDXL_UNET:
        return _small(shape, steps, device)
    low, high = _speed(shape, device)
    high *= shape.processes
    seconds = steps * shape.work
    source = (
        f"counted, not measured: {shape.work:.3g} TFLOP a step at {_short(low)} to {_short(high)} "
        "TFLOP/s"
    )
    if has_gpu(device):
        return Duration(seconds / high, seconds / low, source)
    middle = spoken(seconds / math.sqrt(low * high))
    source += f". No GPU: about {middle}; try `recipe: pocket-tryout`"
    return Duration(seconds / high, seconds / low, source)


def has_gpu(device: Device) -> bool:
    """Whether a training would run on a graphics card."""
    return device.memory is not None or device.name.startswith("mps ") or "NVIDIA" in device.name


def _short(number: float) -> str:
    return f"{float(f'{number:.2g}'):g}"


def _speed(shape: Shape, device: Device) -> tuple[float, float]:
    """TFLOP/s, least and most, of one process."""
    if not has_gpu(device):
        low, high = CORE[shape.precision]
        return low, high * shape.threads
    if device.name.startswith("mps "):
        return APPLE
    single = shape.precision == "fp32"
    peak = next(
        (peaks[single] for name, peaks in PEAKS.items() if re.search(rf"\b{name}\b", device.name)),
        None,
    )
    least, most = ANY_CARD[single] if peak is None else (peak, peak)
    return least * REACHED[0], most * REACHED[1]


def _small(shape: Shape, steps: int, device: Device) -> Duration | None:
    """From the measured step of the same model on another processor, or from launches alone."""
    row = next((row for row in table() if row.shape.unet == shape.unet), None)
    if row is None:
        return None
    if has_gpu(device):
        low, high = (steps * shape.accumulation * seconds for seconds in LAUNCHES)
        return Duration(low, high, "guessed from what a small model's launches take on a GPU")
    seconds = steps * row.seconds_per_step * shape.work / row.shape.work
    source = f"scaled by its operations from a measured row on {row.shape.device}"
    return Duration(seconds / SMALL / max(shape.threads, shape.processes), seconds * SMALL, source)
