"""The fast paths through a denoiser's layers, all at once.

Each replaces only what forward passes do: modules, weights and names stay the same objects, so
the adapter's file and every checkpoint are those of the plain layers, which stay the reference.
"""

from __future__ import annotations

from torch import nn

from lora_recipes.reporting import Reporter
from lora_recipes.train.fast.attention import speed_up_attention
from lora_recipes.train.fast.linear import speed_up_linear


def speed_up(unet: nn.Module, report: Reporter) -> None:
    """Let the LoRA and attention layers of a UNet with an adapter take their fast paths.

    Args:
        unet: on any device, with an adapter.
        report: is told which layers stay plain because a library's source is not known.
    """
    speed_up_linear(unet, report)
    speed_up_attention(unet, report)
