"""The sizes of the weights that an adapter is put beside, from a UNet's config alone."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

PACKAGE = Path(__file__).parent.parent
SDXL = PACKAGE / "base/configs/unet/config.json"
POCKET = PACKAGE / "pocket/model/unet"

Shape = tuple[int, int]
"""Numbers going in and coming out of a linear layer or 1×1 convolution."""


def unet_config(model: str, root: Path) -> dict[str, Any]:
    """The UNet's config of a recipe's `base.model`. What cannot be looked into counts as SDXL."""
    folder = root / Path(model).expanduser() / "unet" / "config.json"
    path = POCKET / "config.json" if model == "pocket" else folder if folder.is_file() else SDXL
    config: dict[str, Any] = json.loads(path.read_text("utf-8"))
    return config


def adapted_shapes(
    config: dict[str, Any], targets: Literal["attention", "transformer"]
) -> list[Shape]:
    """The shape of every weight that gets an adapter: 560 or 722 of them in SDXL.

    Args:
        config: of a UNet2DConditionModel with text_time conditioning.
        targets: `lora.targets`.

    Source: diffusers, UNet2DConditionModel, Transformer2DModel, BasicTransformerBlock (GEGLU).
    """
    text_width = config["cross_attention_dim"]
    shapes: list[Shape] = []
    for width, layers in _transformers(config):
        attention = [(width, width)] * 6 + [(text_width, width)] * 2
        feed_forward = [(width, 8 * width), (4 * width, width)]
        if targets == "attention":
            shapes += attention * layers
        else:
            shapes += (attention + feed_forward) * layers + [(width, width)] * 2
    return shapes


def weights_per_rank(shapes: list[Shape]) -> int:
    """How many weights an adapter has for each unit of rank."""
    return sum(map(sum, shapes))


def _transformers(config: dict[str, Any]) -> Iterator[tuple[int, int]]:
    """Width and number of layers of every transformer of the UNet."""
    widths = config["block_out_channels"]
    layers = _each(config["transformer_layers_per_block"], len(widths))
    per_block = _each(config["layers_per_block"], len(widths))
    crossing = ["CrossAttn" in kind for kind in config["down_block_types"]]
    for width, depth, count, crosses in zip(widths, layers, per_block, crossing, strict=True):
        if crosses:
            yield from [(width, depth)] * (2 * count + 1)  # on the way down and, one more, up
    yield widths[-1], layers[-1]


def _each(value: Any, count: int) -> list[int]:
    return [value] * count if isinstance(value, int) else list(value)
